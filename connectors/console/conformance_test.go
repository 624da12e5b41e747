package console_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/formats"
)

// screen is what a sink prints to.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSpace(s.text.String()), "\n")
}

type upper struct{}

// Encode implements formats.Encoder.
func (upper) Encode(v *string, out *formats.Out) error {
	if *v == "bad" {
		return errors.New("it is bad")
	}
	out.Value = append(out.Value, *v...)
	return nil
}

func TestSinkConforms(t *testing.T) {
	t.Parallel()
	to := &screen{}
	connectortest.TestSink(t, connectortest.SinkCase[string]{
		New: func() connectors.SinkOf[string] {
			return console.New(func() (formats.Encoder[string], error) { return upper{}, nil }).Into(to)
		},
		Row:     strconv.Itoa,
		Visible: to.lines, Key: func(s string) string { return s },
		Refused: func() string { return "bad" }, AtLeastOnce: true,
	})
}
