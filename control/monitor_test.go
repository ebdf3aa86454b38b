package control

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

var _ expvar.Var = (*Monitor)(nil)
var _ http.Handler = (*Monitor)(nil)

// A pipeline with one slow part: the monitor names it, in a chain that runs in one
// goroutine and in one that runs apart.
func TestMonitorBottleneck(t *testing.T) {
	for name, tt := range map[string]struct {
		source, work, body time.Duration
		workers            int
		want               string
	}{
		"slow source, in a chain":   {9 * ms, 2 * ms, ms, 0, "source"},
		"slow work, in a chain":     {2 * ms, 9 * ms, ms, 0, "work"},
		"slow consumer, in a chain": {2 * ms, ms, 9 * ms, 0, Consumer},
		"slow source, apart":        {9 * ms, 9 * ms, ms, 4, "source"},
		"slow work, apart":          {2 * ms, 29 * ms, ms, 4, "work"},
		"slow consumer, apart":      {2 * ms, 9 * ms, 9 * ms, 4, Consumer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMonitor()
				source := Observe(m, "source", each(upTo(200), tt.source))
				work := func(_ context.Context, v int) (int, error) { time.Sleep(tt.work); return v, nil }
				var worked intStream
				if tt.workers > 0 {
					worked = seq.MapConcurrent(t.Context(), source, tt.workers, work)
				} else {
					worked = seq.Map(source, func(v int) (int, error) { return work(nil, v) })
				}
				for range Observe(m, "idle", Observe(m, "work", worked)) {
					time.Sleep(tt.body)
				}
				if got, ok := m.Bottleneck(); got != tt.want || !ok {
					t.Errorf("bottleneck %q, %t; want %q\n%s", got, ok, tt.want, m)
				}
			})
		})
	}
}

// A stage is stuck: it is the bottleneck although, or because, no item ever comes.
func TestMonitorBottleneckWhenStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := NewMonitor()
		source := Observe(m, "source", upTo(100))
		stuck := seq.MapConcurrent(ctx, source, 2, func(ctx context.Context, v int) (int, error) { return 0, sleep(ctx, time.Hour) })
		loop := seq.Go(t.Context(), func() { seq.Drain(Observe(m, "after", Observe(m, "stuck", stuck))) })
		time.Sleep(time.Minute)
		if got, ok := m.Bottleneck(); got != "stuck" || !ok {
			t.Errorf("bottleneck %q, %t", got, ok)
		}
		cancel()
		loop.Join()
	})
}

func TestMonitorSaysNothingTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor()
		if got, ok := m.Bottleneck(); got != "" || ok || len(m.Snapshot()) != 0 {
			t.Errorf("without stages: %q, %t", got, ok)
		}
		in := Observe(m, "x", each(upTo(1), ms-1))
		if got, ok := m.Bottleneck(); got != "" || ok {
			t.Errorf("before the loop: %q, %t", got, ok)
		}
		seq.Drain(in)
		if got, ok := m.Bottleneck(); got != "" || ok {
			t.Errorf("after less than a millisecond: %q, %t", got, ok)
		}
		seq.Drain(in)
		if got, ok := m.Bottleneck(); got != "x" || !ok {
			t.Errorf("after more than a millisecond: %q, %t", got, ok)
		}
	})
}

func TestShares(t *testing.T) {
	at := func(w float64, below int) node {
		return node{below: below, stats: StageStats{WaitUp: time.Duration(w * float64(time.Hour)), WaitDown: time.Duration((1 - w) * float64(time.Hour))}}
	}
	chain := func(waits ...float64) (all []node) {
		for i, w := range waits {
			all = append(all, at(w, i+1))
		}
		all[len(all)-1].below = -1
		return all
	}
	feeds := func(n node) node { n.feeds = true; return n }
	gave := func(n node, items int64) node { n.stats.Items = items; return n }
	ended := func(n node, idle time.Duration) node { n.idle = idle; return n }
	for _, tt := range []struct {
		name  string
		nodes []node
		want  string
	}{
		{"one", chain(0.25), "[0.25 0.75]"},
		{"two", chain(0.25, 0.75), "[0.25 0.50 0.25]"},
		{"idle stages", chain(0, 1, 1), "[0.00 1.00 0.00 0.00]"},
		{"a buffer between two that are nearly busy: what is not felt at the end does not count", chain(0.75, 0.25), "[0.25 0.00 0.75]"},
		{"one that has not run", []node{at(0.5, 1), {below: -1}}, "[0.50 0.00 0.50]"},
		{"none that has run", []node{{below: -1}}, "[]"},
		{"a busy source and an idle one", []node{at(0.9999, 2), at(0.2, 2), at(0.9, -1)}, "[0.00 0.20 0.70 0.10]"},
		{"in the other order", []node{at(0.2, 2), at(0.9999, 2), at(0.9, -1)}, "[0.20 0.00 0.70 0.10]"},
		{"a slow consumer", []node{at(0.9999, 2), at(0.1, 2), at(0.1, -1)}, "[0.00 0.10 0.00 0.90]"},
		{"all are idle", []node{at(0.99, 2), gave(at(0.98, 2), 5), at(0.98, -1)}, "[0.00 0.98 0.00 0.02]"},
		{"about even: the one from which most comes", []node{gave(at(0.96, 2), 5), gave(at(0.98, 2), 500), at(0.98, -1)}, "[0.00 0.96 0.02 0.02]"},
		{"about even: the first one", []node{gave(at(0.97, 2), 500), gave(at(0.96, 2), 501), at(0.98, -1)}, "[0.96 0.00 0.02 0.02]"},
		{"without a stage behind", []node{at(0.99, -1), at(0.2, -1)}, "[0.00 0.20 0.80]"},
		{"sources of two stages", []node{at(0.2, 1), at(0.6, 4), at(0.5, 3), at(0.9, 4), at(0.8, -1)}, "[0.20 0.40 0.00 0.00 0.20 0.20]"},
		{"a merge in a merge", []node{at(0.9, 2), at(0.3, 2), at(0.5, 4), at(0.99, 4), at(0.8, -1)}, "[0.00 0.30 0.20 0.00 0.30 0.20]"},
		{"one that has ended long ago", []node{ended(at(0.1, 2), 100*time.Hour), at(0.9, 2), at(0.9, -1)}, "[0.00 0.90 0.00 0.10]"},
		{"both have ended", []node{ended(at(0.1, 2), 100*time.Hour), ended(at(0.9, 2), 100*time.Hour), ended(at(0.9, -1), 100*time.Hour)}, "[0.10 0.00 0.80 0.10]"},
		{"a fan: slow lanes", []node{feeds(at(0.1, 2)), at(0.9, 2), at(0.95, -1)}, "[0.10 0.80 0.05 0.05]"},
		{"a fan: an idle lane", []node{feeds(at(0.1, 3)), at(0.7, 3), at(0.999, 3), at(0.7, -1)}, "[0.10 0.60 0.00 0.00 0.30]"},
		{"a fan: a slow source", []node{feeds(at(0.9, 3)), at(0.95, 3), at(0.95, 3), at(0.95, -1)}, "[0.90 0.05 0.00 0.00 0.05]"},
		{"a fan whose lanes are not observed", []node{feeds(at(0.1, 1)), at(0.9, -1)}, "[0.10 0.80 0.10]"},
		{"a lane of two", []node{feeds(at(0.1, 3)), at(0.4, 2), at(0.7, 3), at(0.8, -1)}, "[0.10 0.30 0.30 0.10 0.20]"},
		{"a fan in a lane", []node{feeds(at(0.1, 4)), feeds(at(0.2, 3)), at(0.4, 3), at(0.7, 4), at(0.8, -1)}, "[0.10 0.10 0.20 0.30 0.10 0.20]"},
	} {
		if got := fmt.Sprintf("%.2f", shares(tt.nodes)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// run returns a monitor after a short run whose stage has the name.
func run(t *testing.T, name string) *Monitor {
	m := NewMonitor()
	synctest.Test(t, func(t *testing.T) {
		for range Observe(m, name, script(event{s, 1, nil}, event{s, 0, errItem}, event{2 * s, 2, nil})) {
			time.Sleep(250 * ms)
		}
	})
	return m
}

func serve(m *Monitor, method, target string, accept ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for _, a := range accept {
		r.Header.Add("Accept", a)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestMonitorJSON(t *testing.T) {
	const name = "<script>alert(1)</script>"
	m := run(t, name)
	for _, got := range []string{m.String(), text(t, serve(m, "GET", "/?format=json")), text(t, serve(m, "GET", "/", "application/json"))} {
		var answer struct {
			Elapsed    time.Duration
			Bottleneck string
			Consumer   float64
			Stages     []struct {
				StageStats
				Share   float64
				Running int
			}
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		if len(answer.Stages) != 1 || answer.Bottleneck != name {
			t.Fatalf("got %s", got)
		}
		if st := answer.Stages[0]; st.StageStats != (StageStats{name, 2, 1, 1500 * ms, 750 * ms}) || st.Running != 0 {
			t.Errorf("stage %+v", st)
		}
		if got := answer.Stages[0].Share + answer.Consumer; got < 0.999 || got > 1.001 {
			t.Errorf("shares add up to %v", got)
		}
		if strings.Contains(got, "<script>") {
			t.Error("a name is in the JSON as markup")
		}
	}
	if got := NewMonitor().String(); !strings.HasSuffix(got, `"bottleneck":"","stages":[],"consumer":0}`) {
		t.Errorf("without stages: %s", got)
	}
}

func TestMonitorPage(t *testing.T) {
	r := serve(run(t, "<script>alert(1)</script>"), "GET", "/debug/pipeline", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	body := text(t, r)
	if ct := r.Header.Get("Content-Type"); ct != "text/html; charset=utf-8" || !strings.HasPrefix(body, "<!doctype html>") {
		t.Errorf("%s: %.40s", ct, body)
	}
	if strings.Contains(body, "alert(1)") {
		t.Error("a stage's name is in the page")
	}
	for _, external := range []string{"http://", "https://", "src=", "@import", "url(", "innerHTML"} {
		if strings.Contains(body, external) {
			t.Errorf("the page contains %s", external)
		}
	}
	if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
}

func TestMonitorMethods(t *testing.T) {
	m := run(t, "x")
	for _, accept := range []string{"text/html", "application/json"} {
		get, head := serve(m, "GET", "/", accept), serve(m, "HEAD", "/", accept)
		if body := text(t, head); head.StatusCode != 200 || body != "" || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: %v with a body of %d", accept, head.Status, len(body))
		}
		for _, r := range []*http.Response{get, head} {
			if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Vary") != "Accept" {
				t.Errorf("headers %v", r.Header)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if r := serve(m, method, "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v, Allow %q", method, r.Status, r.Header.Get("Allow"))
		}
	}
}

func TestPrefersJSON(t *testing.T) {
	for _, tt := range []struct {
		accept string
		want   bool
	}{
		{"", false},
		{"*/*", false},
		{"application/json", true},
		{"Application/JSON; charset=utf-8", true},
		{"application/*", true},
		{"application/json, text/plain, */*", true},
		{"text/html, application/json;q=0.9", false},
		{"text/html;q=0.8, application/json;q=0.9", true},
		{"application/json, text/html", true},
		{"text/html, application/json", false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
		{"application/json;q=0", false},
		{"application/json;q=0, */*", false},
		{"*/*, application/json;q=0.5", false},
		{"text/*, application/json", true},
		{"text/*;q=1, application/*;q=0.5", false},
		{"application/json;q=nonsense", false},
		{"application/json;q=7", false},
		{"application/json;q=NaN", false},
		{"image/png, , ;;, application/json", true},
		{"application/jsonp", false},
	} {
		if got := prefersJSON([]string{tt.accept}); got != tt.want {
			t.Errorf("%q: %t", tt.accept, got)
		}
	}
	if !prefersJSON([]string{"text/html;q=0.1", "application/json"}) {
		t.Error("the second Accept header was passed over")
	}
}

func ExampleMonitor() {
	m := NewMonitor()
	page := httptest.NewServer(m) // in a program: http.Handle("/pipeline", m)
	defer page.Close()

	for range Observe(m, "rows", seq.Of("a", "b", "c")) {
		time.Sleep(time.Millisecond) // the loop is what takes time here
	}
	resp, err := http.Get(page.URL + "?format=json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var answer struct {
		Bottleneck string
		Stages     []StageStats
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Stages[0].Name, answer.Stages[0].Items, answer.Bottleneck)
	// Output: rows 3 consumer
}
