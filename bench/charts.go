package main

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The palette of Okabe and Ito, which the colour blind can tell apart. The roles
// also differ in pattern, so that they do in print.
var (
	blue       = color.NRGBA{0x00, 0x72, 0xB2, 0xFF}
	orange     = color.NRGBA{0xE6, 0x9F, 0x00, 0xFF}
	green      = color.NRGBA{0x00, 0x9E, 0x73, 0xFF}
	vermillion = color.NRGBA{0xD5, 0x5E, 0x00, 0xFF}
	grey       = color.NRGBA{0x77, 0x77, 0x77, 0xFF}
	black      = color.NRGBA{0x22, 0x22, 0x22, 0xFF}
	white      = color.NRGBA{0xFF, 0xFF, 0xFF, 0xFF}
)

// Sizes of the charts, in points.
const (
	chartWidth = 860
	titleSize  = 15
	textSize   = 11
	smallSize  = 9.5
	lineHeight = 22
	margin     = 14
)

func chartName(r *result) string { return r.id + ".svg" }

// writeCharts draws every result into dir.
func writeCharts(dir string, results []*result) error {
	for _, r := range results {
		c := bars(r)
		if r.id == "export-growth" {
			c = growth(r)
		}
		var svg bytes.Buffer
		if _, err := c.WriteTo(&svg); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, chartName(r)), anyFont(svg.Bytes()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var textElement = regexp.MustCompile(`(<text )([^>]*font-weight:(\w+);[^>]*font-size:([\d.]+)px[^>]*>)([^<]*)</text>`)

// anyFont makes a chart that looks alike in all fonts: each text gets the length that was
// measured when it was placed, to which a reader's font is stretched or squeezed.
func anyFont(svg []byte) []byte {
	svg = bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif"))
	return textElement.ReplaceAllFunc(svg, func(element []byte) []byte {
		part := textElement.FindSubmatch(element)
		size, err := strconv.ParseFloat(string(part[4]), 64)
		if err != nil {
			panic("bench: a text of a chart has the size " + string(part[4]))
		}
		words := html.UnescapeString(string(part[5]))
		width := style(vg.Length(size), string(part[3]) == "bold", black).Width(words)
		return fmt.Appendf(nil, `%stextLength="%.2f" lengthAdjust="spacingAndGlyphs" %s%s</text>`, part[1], float64(width), part[2], part[5])
	})
}

// newChart returns a white canvas. Text stays text in the file; its widths are
// those of Liberation Sans, which are those of Arial and Helvetica, too.
func newChart(width, height vg.Length) (*vgsvg.Canvas, draw.Canvas) {
	svg := vgsvg.New(width, height)
	c := draw.New(svg)
	c.FillPolygon(white, corners(vg.Rectangle{Max: vg.Point{X: width, Y: height}}))
	return svg, c
}

func style(size vg.Length, bold bool, col color.Color) draw.TextStyle {
	f := font.From(plot.DefaultFont, size)
	f.Variant = "Sans"
	if bold {
		f.Weight = xfont.WeightBold
	}
	return draw.TextStyle{Color: col, Font: f, YAlign: text.YCenter, Handler: plot.DefaultTextHandler}
}

func corners(r vg.Rectangle) []vg.Point {
	return []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}}
}

// fills is how a bar of a role looks: ours full, peers hatched, limits empty with
// a broken outline.
var fills = []struct {
	name   string
	colour color.Color
	hatch  bool
	empty  bool
}{
	ours:  {"this library", blue, false, false},
	peer:  {"peers", orange, true, false},
	limit: {"limit", grey, false, true},
}

// bar draws a bar of a role.
func bar(c *draw.Canvas, role role, r vg.Rectangle) {
	look := fills[role]
	line := draw.LineStyle{Color: look.colour, Width: 1}
	switch {
	case look.empty:
		line.Dashes = []vg.Length{3, 2}
	case look.hatch:
		pale := look.colour.(color.NRGBA)
		pale.A = 0x60
		c.FillPolygon(pale, corners(r))
		hatch(c, line, r)
	default:
		c.FillPolygon(look.colour, corners(r))
	}
	outline := append(corners(r), r.Min)
	c.StrokeLines(line, outline)
}

// hatch fills r with diagonal lines.
func hatch(c *draw.Canvas, line draw.LineStyle, r vg.Rectangle) {
	const step = 5
	height := r.Max.Y - r.Min.Y
	for x := r.Min.X - height; x < r.Max.X; x += step {
		from, to := vg.Point{X: x, Y: r.Min.Y}, vg.Point{X: x + height, Y: r.Max.Y}
		if from.X < r.Min.X {
			from = vg.Point{X: r.Min.X, Y: r.Min.Y + (r.Min.X - x)}
		}
		if to.X > r.Max.X {
			to = vg.Point{X: r.Max.X, Y: r.Max.Y - (to.X - r.Max.X)}
		}
		c.StrokeLines(line, []vg.Point{from, to})
	}
}

// legend draws what the roles look like, to the left of x.
func legend(c *draw.Canvas, r *result, x, y vg.Length) {
	st := style(smallSize, false, black)
	const spread = "smallest to largest"
	x -= st.Width(spread)
	c.FillText(st, vg.Point{X: x, Y: y}, spread)
	x -= 22
	c.StrokeLine2(draw.LineStyle{Color: black, Width: 1}, x, y, x+16, y)
	x -= 16
	for role := limit; role >= ours; role-- {
		if !slices.ContainsFunc(r.rows, func(row row) bool { return row.role == role }) {
			continue
		}
		name := fills[role].name
		x -= st.Width(name)
		c.FillText(st, vg.Point{X: x, Y: y}, name)
		x -= 22
		bar(c, role, vg.Rectangle{Min: vg.Point{X: x, Y: y - 5}, Max: vg.Point{X: x + 16, Y: y + 5}})
		x -= 16
	}
}

// bars draws a panel of horizontal bars for each column, a bar for each contestant,
// with its median in figures and a line from the smallest to the largest; an arrow
// stands for what lies beyond the longest bar.
func bars(r *result) *vgsvg.Canvas {
	figure := style(smallSize, false, black)
	names, figures := vg.Length(0), vg.Length(0)
	for i, row := range r.rows {
		names = max(names, nameStyle(i).Width(row.name))
		for _, c := range row.cells {
			if c != nil {
				figures = max(figures, figure.Width(number(c.median)))
			}
		}
	}
	const gap = 14
	head := vg.Length(3*lineHeight + 2)
	panel := (chartWidth - 2*margin - names - 10 - gap*vg.Length(len(r.columns)-1)) / vg.Length(len(r.columns))
	height := head + lineHeight*vg.Length(len(r.rows)) + margin
	svg, c := newChart(chartWidth, height)
	heading(&c, r, height)
	for i, row := range r.rows {
		st := nameStyle(i)
		st.XAlign = text.XRight
		c.FillText(st, vg.Point{X: margin + names, Y: height - head - lineHeight*(vg.Length(i)+0.5)}, row.name)
	}
	for j := range r.columns {
		left := margin + names + 10 + (panel+gap)*vg.Length(j)
		r.panel(&c, j, left, panel, panel-figures-8, height-head)
	}
	return svg
}

// nameStyle is that of the ith contestant's name; the first is the one compared.
func nameStyle(i int) draw.TextStyle { return style(textSize, i == 0, black) }

// heading draws title and legend.
func heading(c *draw.Canvas, r *result, height vg.Length) {
	c.FillText(style(titleSize, true, black), vg.Point{X: margin, Y: height - margin - titleSize/2}, r.title)
	legend(c, r, chartWidth-margin, height-margin-titleSize/2)
}

// panel draws the bars of a column to the right of left; the longest is as long as
// most.
func (r *result) panel(c *draw.Canvas, j int, left, width, most, top vg.Length) {
	col := r.columns[j]
	figure := style(smallSize, false, black)
	name := style(textSize, true, black)
	better := "less is better"
	if col.higher {
		better = "more is better"
	}
	if col.noRank {
		better = ""
	}
	c.FillText(name, vg.Point{X: left, Y: top + 20}, col.name)
	c.FillText(style(smallSize, false, grey), vg.Point{X: left, Y: top + 7}, fit(style(smallSize, false, grey), width, col.unit, better))
	largest := 0.0
	for _, row := range r.rows {
		if row.cells[j] != nil {
			largest = max(largest, row.cells[j].median)
		}
	}
	if largest == 0 {
		largest = 1
	}
	bottom := top - lineHeight*vg.Length(len(r.rows))
	c.StrokeLine2(draw.LineStyle{Color: grey, Width: 0.7}, left, bottom, left, top)
	for i, row := range r.rows {
		y := top - lineHeight*(vg.Length(i)+0.5)
		cell := row.cells[j]
		if cell == nil || cell.median < 0 {
			c.FillText(style(smallSize, false, grey), vg.Point{X: left + 4, Y: y}, "–")
			continue
		}
		at := func(v float64) vg.Length { return left + most*vg.Length(min(v/largest, 1)) }
		end := at(cell.median)
		bar(c, row.role, vg.Rectangle{Min: vg.Point{X: left, Y: y - 6}, Max: vg.Point{X: end, Y: y + 6}})
		if low, high := at(cell.min), at(cell.max); high-low > 2 {
			line := draw.LineStyle{Color: black, Width: 1}
			c.StrokeLine2(line, low, y, high, y)
			if cell.max > largest { // it goes on beyond the panel
				c.StrokeLines(line, []vg.Point{{X: high - 4, Y: y + 3}, {X: high, Y: y}, {X: high - 4, Y: y - 3}})
			}
			end = max(end, high)
		}
		c.FillText(figure, vg.Point{X: end + 4, Y: y}, number(cell.median))
	}
}

// fit joins as many of the words as there is room for.
func fit(st draw.TextStyle, width vg.Length, words ...string) string {
	line := ""
	for _, word := range words {
		longer := line
		if line != "" && word != "" {
			longer += ", "
		}
		if longer += word; line != "" && st.Width(longer) > width {
			break
		}
		line = longer
	}
	return line
}
