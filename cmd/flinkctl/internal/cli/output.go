package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// table is what -o table, wide and name print. The last column may be long.
type table struct {
	header []string
	rows   [][]string
	// wide holds further columns, one slice for each row.
	wideHeader []string
	wide       [][]string
	// names are printed by -o name, one a line; without them the first
	// column is.
	names []string
	// empty is said on stderr when there are no rows.
	empty string
}

// outputs are the forms that -o takes.
func outputs() []string { return []string{"table", "wide", "name", "json", "yaml", "jsonl"} }

// print shows v in the form asked for with -o; asTable is called for text.
func (a *app) print(v any, asTable func() table) error {
	switch a.output {
	case "json":
		return a.printJSON(v, "  ")
	case "yaml":
		return a.printYAML(v)
	case "jsonl":
		return a.printLines(v)
	case "table", "wide", "name":
		a.printTable(asTable())
		return nil
	}
	return usagef("output %q is not one of %s", a.output, strings.Join(outputs(), ", "))
}

func (a *app) printJSON(v any, indent string) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// printYAML goes through JSON so that both show the same names.
func (a *app) printYAML(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var plain any
	if err := yaml.Unmarshal(b, &plain); err != nil {
		return err
	}
	out, err := yaml.Marshal(plain)
	if err != nil {
		return err
	}
	_, err = a.out.Write(out)
	return err
}

func (a *app) printLines(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if json.Unmarshal(b, &items) != nil {
		items = []json.RawMessage{b}
	}
	for _, item := range items {
		if _, err := fmt.Fprintln(a.out, string(item)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printTable(t table) {
	if a.output == "name" {
		names := t.names
		if names == nil {
			for _, row := range t.rows {
				names = append(names, row[0])
			}
		}
		for _, n := range names {
			fmt.Fprintln(a.out, n)
		}
		return
	}
	if len(t.rows) == 0 {
		if t.empty != "" {
			fmt.Fprintln(a.err, t.empty)
		}
		return
	}
	rows := make([][]string, 0, len(t.rows)+1)
	if !a.noHeaders {
		rows = append(rows, a.wider(t.header, t.wideHeader))
	}
	for i, row := range t.rows {
		var more []string
		if i < len(t.wide) {
			more = t.wide[i]
		}
		rows = append(rows, a.wider(row, more))
	}
	fmt.Fprint(a.out, align(rows))
}

func (a *app) wider(row, more []string) []string {
	if a.output != "wide" {
		return row
	}
	return append(append([]string{}, row...), more...)
}

// align pads all columns but the last.
func align(rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ago prints a time in milliseconds as an age relative to now.
func ago(millis int64) string {
	if millis <= 0 {
		return "–"
	}
	return span(time.Now().UnixMilli() - millis)
}

// span prints a duration in milliseconds in its largest two units.
func span(millis int64) string {
	if millis < 0 {
		return "–"
	}
	d := time.Duration(millis) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", millis)
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// size prints bytes with a binary unit.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%dB", n)
	}
	f, i := float64(n), -1
	for f >= unit && i < 4 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f%ciB", f, "KMGTP"[i])
}

func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
