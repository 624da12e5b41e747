package task

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/spool"
)

// inFlightVersion is that of docs/formats/inflight.md.
const inFlightVersion = 1

// inFlight writes the rows that were on their way to a subtask.
type inFlight struct {
	to      *spool.Spool
	subtask int
	buf     []byte
}

func newInFlight(to *spool.Spool, subtask int) *inFlight { return &inFlight{to: to, subtask: subtask} }

// add writes a batch, encoded, that came on an edge from a subtask.
func (f *inFlight) add(e *graph.Edge, from int, encoded []byte) error {
	b := f.buf[:0]
	if f.to.Size() == 0 {
		b = append(b, inFlightVersion)
		b = binary.AppendUvarint(b, uint64(f.subtask))
	}
	for _, s := range []string{string(e.From), e.Output} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(e.Input))
	b = binary.AppendUvarint(b, uint64(from))
	b = binary.AppendUvarint(b, uint64(len(encoded)))
	f.buf = b
	if _, err := f.to.Write(b); err != nil {
		return err
	}
	_, err := f.to.Write(encoded)
	return err
}

// inFlightRows is one batch as it was recorded.
type inFlightRows struct {
	operator, output string // of the edge
	input            int
	from, to         int // subtasks
	encoded          []byte
}

func (r *inFlightRows) on(e *graph.Edge) bool {
	return r.operator == string(e.From) && r.output == e.Output && r.input == e.Input
}

// eachInFlight calls fn for the batches of a record, in order.
func eachInFlight(data []byte, fn func(inFlightRows) error) error {
	if len(data) == 0 {
		return nil
	}
	if data[0] != inFlightVersion {
		return fmt.Errorf("version %d of the record of rows on their way: this engine reads %d", data[0], inFlightVersion)
	}
	r := inFlightReader{rest: data[1:]}
	to := r.number()
	for len(r.rest) > 0 && r.err == nil {
		rows := inFlightRows{operator: string(r.bytes()), output: string(r.bytes()), input: r.number(), from: r.number(), to: to}
		// A batch may keep the bytes that it was decoded from.
		if rows.encoded = r.bytes(); r.err != nil {
			break
		}
		if err := fn(rows); err != nil {
			return err
		}
	}
	return r.err
}

type inFlightReader struct {
	rest []byte
	err  error
}

func (r *inFlightReader) number() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > 1<<31 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

func (r *inFlightReader) bytes() []byte {
	n := r.number()
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *inFlightReader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("the record of rows on their way is damaged: %w", io.ErrUnexpectedEOF)
	}
	r.rest = nil
}

// errNoStream refuses a checkpoint with rows that no operator here takes.
func errNoStream(r inFlightRows) error {
	return &connectors.FatalError{
		Code: "LEAT4215", What: fmt.Sprintf("the checkpoint holds rows on their way from operator %s, which sends none to this vertex any more", r.operator),
		Why: "its barriers did not wait for them, and the program has changed since",
		Fix: "start the changed program from a savepoint, which never holds rows on their way, or the old one from this checkpoint",
	}
}
