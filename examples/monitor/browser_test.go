package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

// evil is a stage's name that must arrive as text.
const evil = `<img src=x onerror="document.title='broken'">`

// A site is a monitor's page, of a pipeline that runs until it is stopped: its slow part
// is the stage "call".
type site struct {
	*httptest.Server
	down atomic.Bool // the server answers with an error
	stop func()      // ends the pipeline
}

func newSite(t *testing.T) *site {
	m := control.NewMonitor()
	s := new(site)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			http.Error(w, "down", http.StatusInternalServerError)
			return
		}
		m.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	numbers := func(yield func(int, error) bool) {
		for i := 0; ctx.Err() == nil && yield(i, nil); i++ {
		}
	}
	rows := control.Observe(m, "rows", numbers)
	parsed := control.Observe(m, evil, seq.Map(rows, func(i int) (int, error) { return i, nil }))
	called := control.Observe(m, "call", seq.MapConcurrent(ctx, parsed, 4, func(_ context.Context, i int) (int, error) {
		time.Sleep(5 * time.Millisecond)
		if i%10 == 0 {
			return 0, context.DeadlineExceeded
		}
		return i, nil
	}))
	loop := seq.Go(t.Context(), func() {
		for _, err := range called {
			if err != nil && !seq.IsItemError(err) {
				return
			}
		}
	})
	s.stop = func() { cancel(); loop.Join() }
	t.Cleanup(func() { s.stop(); s.Close() })
	return s
}

// browse opens the site's page in a Chromium with a fresh profile. At the end nothing
// may have been fetched from elsewhere, nor anything have gone wrong in the page.
func browse(t *testing.T, s *site) context.Context {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium here: install Debian's package chromium")
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(2*time.Minute),
	)
	for _, flag := range []string{"disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), flags...) // with an empty profile
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	do(t, ctx)

	var mu sync.Mutex
	var wrong []string
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if url := e.Request.URL; !strings.HasPrefix(url, s.URL) && !strings.HasPrefix(url, "data:") {
				wrong = append(wrong, "fetched "+url)
			}
		case *runtime.EventExceptionThrown:
			wrong = append(wrong, e.ExceptionDetails.Text)
		case *log.EventEntryAdded: // a broken policy, for one
			if e.Entry.Source != log.EntrySourceNetwork {
				wrong = append(wrong, e.Entry.Text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range wrong {
			t.Error(w)
		}
	})
	call(t, ctx, network.Enable, network.EnableParams{})
	call(t, ctx, log.Enable, cdp.Empty{})
	do(t, ctx, chromedp.Navigate(s.URL))
	return ctx
}

// do runs actions in the page.
func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// call calls a command of the browser's protocol.
func call[P, R any](t *testing.T, ctx context.Context, command cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		t.Fatal(err)
	}
}

// eval returns the value of the expression in the page.
func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits for the expression to become true in the page.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for range 1200 { // a minute and more: these machines are slow
		if eval[bool](t, ctx, expression) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not become true; the page says:\n%s", expression, eval[string](t, ctx, "document.body.innerText"))
}

const verdict = `document.querySelector("#verdict").textContent`

// The page draws the stages in order, names the bottleneck, and updates itself.
func TestPageShowsThePipeline(t *testing.T) {
	s := newSite(t)
	ctx := browse(t, s)
	until(t, ctx, verdict+` === "Bottleneck: call"`)
	names := eval[[]string](t, ctx, `[...document.querySelectorAll("#line h2")].map(h => h.textContent)`)
	if got, want := strings.Join(names, "|"), "rows|"+evil+"|call|consumer"; got != want {
		t.Errorf("boxes %s, want %s", got, want)
	}
	if got := eval[int](t, ctx, `document.querySelectorAll("img").length`); got != 0 || eval[string](t, ctx, "document.title") != "Pipeline" {
		t.Error("the name of a stage became part of the page")
	}
	hot := eval[[]string](t, ctx, `[...document.querySelectorAll("li.hot h2")].map(h => h.textContent)`)
	if strings.Join(hot, "|") != "call" {
		t.Errorf("marked %q, want call alone", hot)
	}
	if got := eval[string](t, ctx, `document.querySelector("#verdict").getAttribute("aria-live")`); got != "polite" {
		t.Errorf("the bottleneck is not announced: aria-live is %q", got)
	}
	// Without any doing: numbers move, there is a rate, errors are marked where they arose.
	items := `+document.querySelectorAll("#line .counts span")[0].textContent.replaceAll(",", "")`
	before := eval[int](t, ctx, items)
	until(t, ctx, fmt.Sprintf("%s > %v", items, before))
	until(t, ctx, `+document.querySelector("li.hot .rate span").textContent.replaceAll(",", "") > 0`)
	marked := eval[[]string](t, ctx, `[...document.querySelectorAll("li:has(.errors.some) h2")].map(h => h.textContent)`)
	if strings.Join(marked, "|") != "call" {
		t.Errorf("errors are marked at %q, want call alone", marked)
	}
	// Where the time goes: the three parts of each box are all of its time.
	sums := eval[[]float64](t, ctx, `[...document.querySelectorAll("#line li")].map(li => [...li.querySelectorAll("dd")].reduce((n, dd) => n + parseFloat(dd.textContent), 0))`)
	for i, sum := range sums {
		if sum < 98 || sum > 102 { // each is rounded
			t.Errorf("the parts of %s add up to %v %%", names[i], sum)
		}
	}
	s.stop()
	until(t, ctx, verdict+` === "Nothing is running. The bottleneck was call"`)
}

// Everything can be done with the keyboard.
func TestPageWithTheKeyboard(t *testing.T) {
	ctx := browse(t, newSite(t))
	until(t, ctx, verdict+` === "Bottleneck: call"`)
	focus := func(want string) {
		t.Helper()
		until(t, ctx, `(e => e.querySelector("h2")?.textContent || e.value || e.id || e.tagName)(document.activeElement) === `+"`"+want+"`")
	}
	press := func(keys string) { t.Helper(); do(t, ctx, chromedp.KeyEvent(keys)) }

	press(kb.Tab)
	focus("recent")
	press(kb.ArrowRight)
	focus("all")
	until(t, ctx, `document.querySelector("#reason").textContent.includes("of the run so far")`)
	press(kb.Tab)
	focus("hold")
	press(" ")
	until(t, ctx, `document.querySelector("#status").textContent === "paused" && document.querySelector("#hold").getAttribute("aria-pressed") === "true"`)
	press(" ")
	until(t, ctx, `document.querySelector("#status").textContent === "live"`)
	press(kb.Tab)
	focus("rows")
	press(kb.ArrowRight)
	focus(evil)
	press(kb.End)
	focus("consumer")
	press(kb.ArrowRight) // there is nothing further
	focus("consumer")
	press(kb.ArrowLeft)
	focus("call")
	press(kb.Home)
	focus("rows")
	if got := eval[string](t, ctx, `getComputedStyle(document.activeElement).outlineStyle`); got == "none" {
		t.Error("the box that has the focus does not show it")
	}
	press(kb.Tab)
	focus("SUMMARY")
	press(kb.Enter)
	until(t, ctx, `document.querySelector("details").open && document.querySelectorAll("#rows tr").length === 3`)
}

// On a phone the line runs down, and nothing sticks out; dark is as readable as light.
func TestPageOnAPhone(t *testing.T) {
	ctx := browse(t, newSite(t))
	for _, scheme := range []string{"light", "dark"} {
		do(t, ctx, chromedp.EmulateViewport(360, 640, chromedp.EmulateScale(2), chromedp.EmulateMobile))
		call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		until(t, ctx, verdict+` === "Bottleneck: call"`)
		eval[bool](t, ctx, `document.querySelector("details").open = true`)
		if w := eval[int](t, ctx, `document.documentElement.scrollWidth`); w > 360 {
			t.Errorf("%s: the page is %d wide on 360", scheme, w)
		}
		if n := eval[int](t, ctx, `new Set([...document.querySelectorAll("#line li")].map(li => li.getBoundingClientRect().left)).size`); n != 1 {
			t.Errorf("%s: the boxes stand in %d columns", scheme, n)
		}
		for _, low := range eval[[]string](t, ctx, lowContrast) {
			t.Errorf("%s: %s", scheme, low)
		}
	}
}

// lowContrast lists the texts of the page whose contrast is below 4.5 to 1, as WCAG 2.2
// (1.4.3) measures it.
const lowContrast = `(() => {
	const rgb = c => c.match(/[\d.]+/g).map(Number);
	const light = c => {
		const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const ground = node => {
		for (; node; node = node.parentElement) {
			const c = rgb(getComputedStyle(node).backgroundColor);
			if (c.length === 3 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const low = [];
	for (const node of document.body.querySelectorAll("*:not(script):not(style):not(noscript)")) {
		if (![...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
		if (!node.checkVisibility() || node.closest(".hidden")) continue;
		const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
		const contrast = (a + 0.05) / (b + 0.05);
		if (contrast < 4.5) low.push(node.tagName + " " + node.textContent.trim().slice(0, 30) + ": contrast " + contrast.toFixed(2));
	}
	return low;
})()`

// A program that does not answer is no stuck page: it says so, and goes on by itself.
func TestPageWhenTheProgramIsGone(t *testing.T) {
	s := newSite(t)
	ctx := browse(t, s)
	status := `document.querySelector("#status").textContent`
	until(t, ctx, status+` === "live"`)
	until(t, ctx, verdict+` === "Bottleneck: call"`)
	s.down.Store(true)
	until(t, ctx, status+` === "no answer from the program"`)
	s.down.Store(false)
	until(t, ctx, status+` === "live"`)
}

// The page makes of the numbers what the Monitor makes of them: of sources that come
// together the one counts that is waited for least.
func TestPageSharesBehindAJoin(t *testing.T) {
	ctx := browse(t, newSite(t))
	got := eval[[]float64](t, ctx, `shares(grown(null, {stages: [
		{name: "ticks", items: 1, errors: 0, waitUp: 1000e6, waitDown: 0, idle: 0, below: 2},
		{name: "channel", items: 500, errors: 0, waitUp: 250e6, waitDown: 750e6, idle: 0, below: 2},
		{name: "call", items: 500, errors: 0, waitUp: 750e6, waitDown: 250e6, idle: 0, below: -1},
	]}, 1000e6)).map(s => s.share)`)
	if want := []float64{0, 0.25, 0.5, 0.25}; !slices.Equal(got, want) {
		t.Errorf("shares %v, want %v", got, want)
	}
}
