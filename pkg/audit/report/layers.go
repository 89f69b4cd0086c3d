package report

import (
	"fmt"
	"slices"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// layers is the picture of the images' layers and the table that says the same.
type layers struct {
	Height int // of the picture, pixels
	Bars   []bar
	Rows   []layerRow
}

// bar is one image: its layers side by side, the widest image as wide as the
// picture.
type bar struct {
	Arch       string
	Size       string
	TextY, Y   int // pixels
	LabelY     int
	Segments   []segment
	Percentage string
}

// segment is one layer in a bar. Places are percentages of the picture's width.
type segment struct {
	X, Width, Middle string
	Number           int
	Colour           int // 1–8
	Labelled         bool
	Text             string
}

// layerRow is a layer of all images that have it.
type layerRow struct {
	Number   int
	Colour   int
	Contents string
	Packages []string
	Cells    []layerCell // one per architecture
}

// layerCell is the layer in one image.
type layerCell struct {
	Arch   string
	Size   string // empty where the image has no such layer
	Detail string
	Digest string
}

const (
	barHeight = 28
	barStep   = 64 // from one bar to the next
	colours   = 8
	// A digit has room in this part of the width, on the narrowest phone too.
	labelledFrom = 0.06
)

func (p *page) layers() layers {
	var l layers
	var most int64
	for _, i := range p.Images {
		most = max(most, i.Size)
	}
	numbers := map[string]int{}
	for at, image := range p.Images {
		b := bar{Arch: brief(image.Arch), Size: megabytes(image.Size), TextY: at*barStep + 16, Y: at*barStep + 24, LabelY: at*barStep + 24 + barHeight/2}
		var x int64
		for n, layer := range image.Layers {
			// Layers of several images are one row when they hold the same;
			// without a history, when they have the same place.
			key := layer.Contents
			if key == "" {
				key = fmt.Sprintf("#%d", n)
			}
			for i := 2; slices.ContainsFunc(b.Segments, func(s segment) bool { return s.Number == numbers[key] }); i++ {
				key = fmt.Sprintf("%s #%d", layer.Contents, i)
			}
			number := numbers[key]
			if number == 0 {
				number = len(numbers) + 1
				numbers[key] = number
				l.Rows = append(l.Rows, newRow(number, layer, p.Archs))
			}
			row := &l.Rows[number-1]
			for _, name := range layer.Packages {
				if !slices.Contains(row.Packages, name) {
					row.Packages = append(row.Packages, name)
				}
			}
			row.Cells[at] = layerCell{
				Arch: image.Arch, Size: megabytes(layer.Size), Digest: layer.Digest,
				Detail: fmt.Sprintf("%s, %s unpacked", count(layer.Files, "file", "files"), megabytes(layer.Unpacked)),
			}
			if most == 0 {
				continue
			}
			part := float64(layer.Size) / float64(most)
			b.Segments = append(b.Segments, segment{
				X: percent(x, most), Width: percent(layer.Size, most), Middle: fmt.Sprintf("%.2f%%", 100*(float64(x)/float64(most)+part/2)),
				Number: number, Colour: row.Colour, Labelled: part >= labelledFrom,
				Text: fmt.Sprintf("%d: %s, %s", number, row.Contents, megabytes(layer.Size)),
			})
			x += layer.Size
		}
		l.Bars = append(l.Bars, b)
	}
	l.Height = len(l.Bars)*barStep - (barStep - 24 - barHeight)
	return l
}

// brief is a name that fits into the picture, where text does not wrap; every
// real architecture's does.
func brief(name string) string {
	if r := []rune(name); len(r) > 16 {
		return string(r[:16]) + "…"
	}
	return name
}

func newRow(number int, layer audit.Layer, archs []string) layerRow {
	row := layerRow{Number: number, Colour: (number-1)%colours + 1, Contents: layer.Contents, Cells: make([]layerCell, len(archs))}
	if row.Contents == "" {
		row.Contents = "not said by the image's history"
	}
	for i, a := range archs {
		row.Cells[i].Arch = a
	}
	return row
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.2f%%", 100*float64(part)/float64(whole))
}
