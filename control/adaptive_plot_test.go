package control

import (
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write adaptive.svg anew")

const plotFile = "adaptive.svg"

// TestAdaptivePlot draws, with -update, the picture that the docs show: the limit,
// the throughput and the latency while the capacity of the service changes. Without
// it, it checks that the picture is whole and shows all of them.
func TestAdaptivePlot(t *testing.T) {
	if *update {
		var picture string
		synctest.Test(t, func(t *testing.T) { picture = drawPlot(simulate(t.Context())) })
		if err := os.WriteFile(plotFile, []byte(picture), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(plotFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	curves := 0
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			curves++
		}
	}
	if curves != 6 { // a measured and a best one each
		t.Errorf("%d curves, want 6", curves)
	}
}

// A frameOfTime is what was measured in 50 ms, and the best there is.
type frameOfTime struct {
	at                                 time.Duration
	limit, throughput, latency         float64
	bestLimit, bestThroughput, bestLat float64
}

// simulate runs 200 callers for 9 s of the fake clock against a service of 10 ms
// whose capacity goes from 16 to 64 and to 4.
func simulate(ctx context.Context) []frameOfTime {
	const every, phaseLen = 50 * time.Millisecond, 3 * time.Second
	srv := &server{base: 10 * time.Millisecond}
	policy := NewAdaptive(AdaptiveConfig{})
	running, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	var served int
	var latency time.Duration
	var wg sync.WaitGroup
	srv.capacity.Store(16)
	for range 200 {
		wg.Go(func() {
			for running.Err() == nil {
				policy.Do(running, func(ctx context.Context) error {
					begin := time.Now()
					err := srv.call(ctx)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						served++
						latency += time.Since(begin)
					}
					return err
				})
			}
		})
	}
	var frames []frameOfTime
	begin := time.Now()
	for _, capacity := range []int64{16, 64, 4} {
		srv.capacity.Store(capacity)
		for range phaseLen / every {
			time.Sleep(every)
			mu.Lock()
			c := float64(capacity)
			frames = append(frames, frameOfTime{
				at:    time.Since(begin),
				limit: float64(policy.Limit()), throughput: float64(served) / every.Seconds(),
				latency:   latency.Seconds() * 1000 / float64(served), // NaN where no call has ended
				bestLimit: c, bestThroughput: c / srv.base.Seconds(), bestLat: srv.base.Seconds() * 1000,
			})
			served, latency = 0, 0
			mu.Unlock()
		}
	}
	stop()
	wg.Wait()
	return frames
}

const plotStyle = `<style>
svg { font: 13px system-ui, sans-serif; background: #fff; --ink: #222; --grid: #ddd; --curve: #0969da; --best: #888 }
@media (prefers-color-scheme: dark) { svg { background: #161b22; --ink: #ddd; --grid: #333; --curve: #58a6ff; --best: #888 } }
text { fill: var(--ink) } line { stroke: var(--grid) } polyline { fill: none; stroke: var(--curve); stroke-width: 2 }
polyline.best { stroke: var(--best); stroke-width: 1.5; stroke-dasharray: 5 4 }
</style>
`

// drawPlot draws three panels above each other, on logarithmic scales.
func drawPlot(frames []frameOfTime) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 640" role="img">
<title>Adaptive follows a service whose capacity goes from 16 to 64 and to 4 calls at once</title>
%s<text x="60" y="22" font-weight="bold">Adaptive (solid) and the best fixed limit (dashed); capacity 16, 64, then 4 calls at once</text>
`, plotStyle)
	panels := []struct {
		title     string
		low, high float64
		ticks     []float64
		of, best  func(frameOfTime) float64
	}{
		{"limit, calls in flight", 1, 128, []float64{1, 4, 16, 64},
			func(f frameOfTime) float64 { return f.limit }, func(f frameOfTime) float64 { return f.bestLimit }},
		{"throughput, calls a second", 100, 10_000, []float64{100, 400, 1600, 6400},
			func(f frameOfTime) float64 { return f.throughput }, func(f frameOfTime) float64 { return f.bestThroughput }},
		{"latency, ms", 5, 320, []float64{10, 20, 40, 80, 160},
			func(f frameOfTime) float64 { return f.latency }, func(f frameOfTime) float64 { return f.bestLat }},
	}
	end := frames[len(frames)-1].at.Seconds()
	x := func(f frameOfTime) float64 { return 60 + 680*f.at.Seconds()/end }
	for i, p := range panels {
		bottom := float64(210 + 190*i)
		y := func(v float64) float64 {
			v = min(max(v, p.low), p.high)
			return bottom - 150*math.Log(v/p.low)/math.Log(p.high/p.low)
		}
		fmt.Fprintf(&b, "<text x=\"60\" y=\"%.0f\">%s</text>\n", bottom-156, p.title)
		for _, tick := range p.ticks {
			fmt.Fprintf(&b, "<line x1=\"60\" x2=\"740\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%.0f</text>\n",
				y(tick), y(tick), y(tick)+4, tick)
		}
		curve := func(class string, of func(frameOfTime) float64) {
			var points []string
			for _, f := range frames {
				if v := of(f); !math.IsNaN(v) {
					points = append(points, fmt.Sprintf("%.1f,%.1f", x(f), y(v)))
				}
			}
			fmt.Fprintf(&b, "<polyline class=%q points=%q/>\n", class, strings.Join(points, " "))
		}
		curve("best", p.best)
		curve("measured", p.of)
	}
	for s := 0; s <= int(end); s++ {
		fmt.Fprintf(&b, "<text x=\"%.0f\" y=\"612\" text-anchor=\"middle\">%d s</text>\n", 60+680*float64(s)/end, s)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
