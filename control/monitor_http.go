package control

import (
	_ "embed"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// page is the live page. It loads nothing but the JSON at its own address.
//
//go:embed monitor.html
var page []byte

// pagePolicy allows the page just that, so that not even a stage's name could make it
// do more.
const pagePolicy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; " +
	"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"

// ServeHTTP answers with a live page that draws the stages, or with JSON where the
// request asks for it, by Accept: application/json or by ?format=json:
//
//	{"elapsed": 1500000000, "bottleneck": "call", "consumer": 0.01, "stages": [
//	  {"name": "rows", "items": 120, "errors": 0, "waitUp": 30000000, "waitDown": 1470000000,
//	   "share": 0.02, "running": 1, "idle": 0, "below": 1}, …]}
//
// Times are in nanoseconds, counts and times are those since [NewMonitor], shares lie
// between 0 and 1, and below is the index of the stage that pulls on this one, -1 for the
// consumer; see [StageStats] and [Monitor.Bottleneck]. The names of stages and
// their numbers are shown to whoever may ask: mount it where your other debug pages are.
func (m *Monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "control.Monitor: only GET and HEAD are answered, got "+r.Method, http.StatusMethodNotAllowed)
		return
	}
	body := page
	if r.URL.Query().Get("format") == "json" || prefersJSON(r.Header.Values("Accept")) {
		h.Set("Content-Type", "application/json")
		body = m.state()
	} else {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", pagePolicy)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body) // whoever asked may be gone: there is nobody to tell
	}
}

// prefersJSON reports whether the Accept headers prefer application/json to text/html:
// by quality (RFC 9110, section 12.5.1), then by the more specific range, then by the
// one that comes first. Without a preference it is the page.
func prefersJSON(accept []string) bool {
	json := acceptance(accept, "application", "json")
	html := acceptance(accept, "text", "html")
	switch {
	case json.quality != html.quality:
		return json.quality > html.quality
	case json.specific != html.specific:
		return json.quality > 0 && json.specific > html.specific
	default:
		return json.quality > 0 && json.at < html.at
	}
}

// accepted is how an Accept header takes a media type.
type accepted struct {
	quality  float64 // 0 to 1
	specific int     // 0: not named, 1: */*, 2: type/*, 3: type/subtype
	at       int     // the position of the range in the header
}

// acceptance returns how the headers take a media type: the most specific range that
// covers it decides. A range that cannot be read is passed over.
func acceptance(accept []string, typ, subtype string) (best accepted) {
	for at, media := range strings.Split(strings.Join(accept, ","), ",") {
		name, params, err := mime.ParseMediaType(media)
		if err != nil {
			continue
		}
		a := accepted{quality: 1, at: at}
		switch name {
		case typ + "/" + subtype:
			a.specific = 3
		case typ + "/*":
			a.specific = 2
		case "*/*":
			a.specific = 1
		default:
			continue
		}
		if q, ok := params["q"]; ok {
			if a.quality, err = strconv.ParseFloat(q, 64); err != nil || !(a.quality >= 0 && a.quality <= 1) {
				continue
			}
		}
		if a.specific > best.specific {
			best = a
		}
	}
	return best
}
