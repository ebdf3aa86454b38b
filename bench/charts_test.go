package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// longNames is a result with the longest names and figures that charts have had.
func longNames() *result {
	r := made(column{name: "64 workers", unit: "ns an item"}, 1234567, 0.75, 999.9, 52)
	r.columns = append(r.columns, column{name: "speed", unit: "thousand rows/s", higher: true})
	for i, name := range []string{"seq.MapConcurrent, Window(1024)", "textbook pool, reordering", "conc stream.Stream & <callbacks>", "limit: a SELECT from the driver itself"} {
		r.rows[i].name = name
		r.rows[i].cells = append(r.rows[i].cells, &cell{float64(100 * (i + 1)), 90, 1000, -1})
	}
	return r
}

// TestChartsInOtherFonts draws a chart in Chromium with fonts that are wider than the one
// it was measured with: no text touches a bar, and none is cut off.
func TestChartsInOtherFonts(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no Chromium here: install Debian's package chromium")
	}
	var svg bytes.Buffer
	if _, err := bars(longNames()).WriteTo(&svg); err != nil {
		t.Fatal(err)
	}
	chart := string(anyFont(svg.Bytes()))
	for _, font := range []string{"DejaVu Sans", "DejaVu Serif"} {
		if out, err := exec.Command("fc-match", "-f", "%{family}", font).Output(); err != nil || !strings.Contains(string(out), font) {
			t.Skipf("there is no font %s here: install Debian's package fonts-dejavu-core", font)
		}
		drawn := strings.ReplaceAll(chart, "'Liberation Sans',Arial,Helvetica,sans-serif", "'"+font+"'")
		texts := screenshot(t, chromium, drawn, "path { visibility: hidden }")
		shapes := screenshot(t, chromium, drawn, "text { visibility: hidden }")
		frame := shapes.Bounds().Inset(chartInset)
		touching, cut, ink := 0, 0, 0
		for y := range texts.Bounds().Dy() {
			for x := range texts.Bounds().Dx() {
				if !inked(texts, x, y) {
					continue
				}
				ink++
				if inked(shapes, x, y) {
					touching++
				}
				if !(image.Point{X: x, Y: y}).In(frame) {
					cut++
				}
			}
		}
		if ink < 1000 || touching > 0 || cut > 0 {
			t.Errorf("%s: of %d pixels of text %d lie on a bar and %d outside of the chart", font, ink, touching, cut)
		}
	}
}

// chartInset is the room around the chart in a screenshot, in pixels.
const chartInset = 60

// screenshot draws a chart with a style of its own.
func screenshot(t *testing.T, chromium, svg, css string) image.Image {
	t.Helper()
	dir := t.TempDir()
	_, svg, _ = strings.Cut(svg, "<svg ")
	page := fmt.Sprintf(`<!DOCTYPE html><meta charset="utf-8"><style>body { margin: %dpx; background: white } svg { display: block; overflow: visible } %s</style><svg %s`,
		chartInset, css, strings.Replace(svg, `pt" height=`, `" height=`, 1))
	page = strings.Replace(page, `pt" viewBox`, `" viewBox`, 1)
	path, out := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.png")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	height := 3*lineHeight + 2 + 4*lineHeight + margin
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir="+filepath.Join(dir, "profile"),
		fmt.Sprintf("--window-size=%d,%d", chartWidth+2*chartInset, height+2*chartInset), "--screenshot="+out, "file://"+path)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shot, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return shot
}

// inked reports whether there is something at a pixel.
func inked(shot image.Image, x, y int) bool {
	r, g, b, _ := shot.At(x, y).RGBA()
	return min(r, g, b) < 0xC000
}
