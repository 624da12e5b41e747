package main

import (
	"time"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
)

// keyed writes a result as JSON under the key region|window_start, so that
// the results of a window lie in one partition, in order: the last one counts.
type keyed struct {
	json *jsonfmt.Encoder[Revenue]
}

func revenueEncoder() (formats.Encoder[Revenue], error) {
	e, err := jsonfmt.NewEncoder(Revenue{})
	return keyed{e}, err
}

// Encode implements formats.Encoder.
func (k keyed) Encode(v *Revenue, out *formats.Out) error {
	out.Key = append(append(out.Key, v.Region...), '|')
	out.Key = time.UnixMilli(v.Start).UTC().AppendFormat(out.Key, "2006-01-02T15:04:05.000Z07:00")
	return k.json.Encode(v, out)
}
