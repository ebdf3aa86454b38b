package main

import (
	"image/color"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// growth draws the cost of a row against the size of the table: a line for each
// contestant, both axes logarithmic.
func growth(r *result) *vgsvg.Canvas {
	const height = 380
	svg, c := newChart(chartWidth, height)
	c.FillText(style(titleSize, true, black), vg.Point{X: margin, Y: height - margin - titleSize/2}, r.title)
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "rows in the table", "µs a row, less is better"
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Scale = plot.LogScale{}
		a.Label.TextStyle.Font.Variant = "Sans"
		a.Label.TextStyle.Font.Size = textSize
		a.Label.Padding = 6
		a.Tick.Label.Font.Variant = "Sans"
		a.Tick.Label.Font.Size = textSize
		a.Tick.Marker = plot.TickerFunc(logTicks)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xDD}, color.Gray{0xDD}
	p.Add(grid)
	for i, row := range r.rows {
		var points plotter.XYs
		for j, cell := range row.cells {
			if cell != nil {
				points = append(points, plotter.XY{X: rowsOf(r.columns[j].name), Y: cell.median})
			}
		}
		look := growthLooks[i%len(growthLooks)]
		line := &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: look.colour, Width: 2, Dashes: look.dashes}}
		marks := &plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Color: look.colour, Radius: 4, Shape: look.shape}}
		p.Add(line, marks)
	}
	p.Y.Min, p.Y.Max = p.Y.Min/1.2, p.Y.Max*1.2
	x := vg.Length(margin)
	for i, row := range r.rows {
		x = growthLegend(&c, i, row.name, x, height-margin-titleSize-lineHeight/2-4)
	}
	p.Draw(draw.Crop(c, margin, -margin-6, margin/2, -margin-titleSize-lineHeight-8))
	return svg
}

// growthLooks tell the lines apart by colour, dashes and marks.
var growthLooks = []struct {
	colour color.Color
	shape  draw.GlyphDrawer
	dashes []vg.Length
}{
	{blue, draw.CircleGlyph{}, nil},
	{green, draw.PyramidGlyph{}, []vg.Length{8, 3}},
	{orange, draw.BoxGlyph{}, []vg.Length{3, 3}},
	{vermillion, draw.CrossGlyph{}, []vg.Length{10, 3, 2, 3}},
}

// growthLegend draws what line i looks like, to the right of x, and returns where
// the next one can begin.
func growthLegend(c *draw.Canvas, i int, name string, x, y vg.Length) vg.Length {
	look, st := growthLooks[i%len(growthLooks)], style(textSize, false, black)
	c.StrokeLine2(draw.LineStyle{Color: look.colour, Width: 2, Dashes: look.dashes}, x, y, x+34, y)
	c.DrawGlyph(draw.GlyphStyle{Color: look.colour, Radius: 4, Shape: look.shape}, vg.Point{X: x + 17, Y: y})
	c.FillText(st, vg.Point{X: x + 40, Y: y}, name)
	return x + 40 + st.Width(name) + 18
}

// rowsOf reads the number of rows from a column's name.
func rowsOf(name string) float64 {
	digits, _, _ := strings.Cut(name, " ")
	v, err := strconv.ParseFloat(strings.ReplaceAll(digits, ",", ""), 64)
	if err != nil {
		panic("bench: a column of the growth must begin with a number, got " + name)
	}
	return v
}

// logTicks marks 1, 2 and 5 of each decade.
func logTicks(low, high float64) (ticks []plot.Tick) {
	for decade := 1e-3; decade <= high; decade *= 10 {
		for _, m := range []float64{1, 2, 5} {
			v := m * decade
			label := strconv.FormatFloat(v, 'g', 4, 64)
			if v >= 1000 {
				label = thousands(v)
			}
			if v >= low*0.999 && v <= high*1.001 {
				ticks = append(ticks, plot.Tick{Value: v, Label: label})
			}
		}
	}
	return ticks
}
