package cases_test

import (
	"maps"
	"testing"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// kstreamsPrograms are programs of Kafka Streams' documentation and tests.
func kstreamsPrograms() map[string]program {
	programs := joinPrograms()
	maps.Copy(programs, suppressPrograms())
	programs["wordcount-quickstart"] = wordCountUpdates
	return programs
}

func wordCountUpdates(t *testing.T, c *file) {
	stepped{
		build: func(env *stream.Env) {
			lines := stream.From(env, streamtest.Source(""), stream.UID("lines"))
			wordsOf(lines).To(streamtest.Sink(wordN{}), stream.UID("out"))
		},
		open: func(d *streamtest.Driver) (func(step), func() any) {
			lines, counts := streamtest.Input(d, "lines", ""), streamtest.Output(d, "out", wordN{})
			return func(s step) { lines.Push(text(s.Value)) }, func() any {
				var rows [][]any
				for _, w := range counts.Take() {
					rows = append(rows, []any{w.Word, w.N})
				}
				return rows
			}
		},
	}.run(t, c)
}
