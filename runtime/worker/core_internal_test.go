package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/spool"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
)

// say describes actions for the tests.
func say(actions []action) string {
	var out []string
	for _, a := range actions {
		switch {
		case a.send != nil:
			out = append(out, sent(a.send))
		case a.deploy != nil:
			out = append(out, "deploy")
		case a.start:
			out = append(out, "start")
		case a.trigger != nil:
			out = append(out, fmt.Sprintf("trigger %d", a.trigger.Barrier.ID))
		case a.abort != 0:
			out = append(out, fmt.Sprintf("abort %d", a.abort))
		case a.commit != 0:
			out = append(out, fmt.Sprintf("commit %d", a.commit))
		case a.upload != nil:
			out = append(out, fmt.Sprintf("upload %d", a.upload.id))
		case a.snapshots != 0:
			out = append(out, fmt.Sprintf("coordinators %d", a.snapshots))
		case a.void != nil:
			out = append(out, fmt.Sprintf("void %d to %d", a.void.after+1, a.void.through))
		case a.resend:
			out = append(out, "resend")
		case a.cancel:
			out = append(out, "cancel")
		case a.report:
			out = append(out, "report")
		case a.over:
			out = append(out, "over")
		}
	}
	return strings.Join(out, ", ")
}

func sent(ev *controlv1.WorkerEvent) string {
	switch b := ev.GetBody().(type) {
	case *controlv1.WorkerEvent_Deployed:
		return "deployed"
	case *controlv1.WorkerEvent_TaskStatus:
		s := strings.TrimPrefix(b.TaskStatus.GetState().String(), "TASK_STATE_")
		return fmt.Sprintf("%d %s", b.TaskStatus.GetSubtask().GetSubtask(), strings.ToLower(s))
	case *controlv1.WorkerEvent_CheckpointAck:
		return fmt.Sprintf("ack %d", b.CheckpointAck.GetId())
	case *controlv1.WorkerEvent_CheckpointDecline:
		return fmt.Sprintf("decline %d", b.CheckpointDecline.GetId())
	case *controlv1.WorkerEvent_CommitDone:
		return fmt.Sprintf("done %d", b.CommitDone.GetId())
	case *controlv1.WorkerEvent_Failed:
		return "failed"
	case *controlv1.WorkerEvent_Standing:
		st := b.Standing
		out := fmt.Sprintf("stands %d running=%v ending=%v failed=%v", st.GetEpoch(), st.GetRunning(), st.GetEnding(), st.GetFailure() != nil)
		for _, x := range st.GetTasks() {
			out += " " + strings.ToLower(strings.TrimPrefix(x.GetState().String(), "TASK_STATE_"))
		}
		return out
	}
	return fmt.Sprintf("%T", ev.GetBody())
}

type script struct {
	t *testing.T
	c *core
}

// do applies an event and compares what follows.
func (s *script) do(ev event, want string) {
	s.t.Helper()
	if got := say(s.c.step(ev)); got != want {
		s.t.Fatalf("got %q, want %q", got, want)
	}
}

func command(body any) event {
	c := &controlv1.WorkerCommand{}
	switch b := body.(type) {
	case *controlv1.Deploy:
		c.Body = &controlv1.WorkerCommand_Deploy{Deploy: b}
	case *controlv1.Start:
		c.Body = &controlv1.WorkerCommand_Start{Start: b}
	case *controlv1.TriggerCheckpoint:
		c.Body = &controlv1.WorkerCommand_TriggerCheckpoint{TriggerCheckpoint: b}
	case *controlv1.CheckpointCommitted:
		c.Body = &controlv1.WorkerCommand_CheckpointCommitted{CheckpointCommitted: b}
	case *controlv1.CheckpointAborted:
		c.Body = &controlv1.WorkerCommand_CheckpointAborted{CheckpointAborted: b}
	case *controlv1.Cancel:
		c.Body = &controlv1.WorkerCommand_Cancel{Cancel: b}
	case *controlv1.Adopt:
		c.Body = &controlv1.WorkerCommand_Adopt{Adopt: b}
	}
	return event{command: c}
}

func snapshot(i int, id dataflow.CheckpointID) event {
	return event{task: &taskEvent{task: i, snapshot: &task.Snapshot{ID: id}}}
}

// running brings a worker of two tasks to running.
func running(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, c: newCore("print")}
	s.do(command(&controlv1.Deploy{Fingerprint: "print", Coordinator: true}), "deploy")
	s.do(event{built: &built{tasks: []*controlv1.SubtaskRef{{Subtask: 0}, {Subtask: 1}}}}, "0 initializing, 1 initializing")
	s.do(event{tick: true}, "report") // what is tried again while tasks open
	s.do(event{task: &taskEvent{task: 1, opened: true}}, "")
	s.do(event{task: &taskEvent{task: 0, opened: true}}, "deployed")
	s.do(command(&controlv1.Start{}), "start, 0 running, 1 running")
	return s
}

func TestCoreLife(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.do(event{tick: true}, "report")
	s.do(event{task: &taskEvent{task: 0, finished: true}}, "report, 0 finished")
	s.do(command(&controlv1.Cancel{}), "cancel")
	s.do(command(&controlv1.Cancel{}), "")
	s.do(event{task: &taskEvent{task: 0, closed: true}}, "")
	s.do(event{task: &taskEvent{task: 1, closed: true}}, "1 canceled, over")
}

func TestCoreTaskFailure(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.do(event{task: &taskEvent{task: 1, closed: true, failure: &controlv1.Failure{}}}, "1 failed")
	s.do(command(&controlv1.Cancel{}), "cancel")
	s.do(event{task: &taskEvent{task: 0, closed: true}}, "0 canceled, over")
}

func TestCoreCheckpoint(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.do(snapshot(0, 1), "") // its barrier was faster than the command
	s.do(command(&controlv1.TriggerCheckpoint{Id: 1}), "coordinators 1, trigger 1")
	s.do(snapshot(1, 1), "upload 1")
	s.do(event{uploaded: &uploaded{id: 1}}, "ack 1")
	s.do(command(&controlv1.CheckpointCommitted{Id: 1}), "commit 1")
	s.do(event{task: &taskEvent{task: 0, committed: 1}}, "")
	s.do(event{task: &taskEvent{task: 1, committed: 1}}, "done 1")
}

// Confirmations of a later checkpoint stand for the earlier ones.
func TestCoreCommitsOfSeveral(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.do(command(&controlv1.CheckpointCommitted{Id: 1}), "commit 1")
	s.do(command(&controlv1.CheckpointCommitted{Id: 2}), "commit 2")
	s.do(event{task: &taskEvent{task: 0, committed: 2}}, "")
	s.do(event{task: &taskEvent{task: 1, committed: 1}}, "done 1")
	s.do(event{task: &taskEvent{task: 1, committed: 2}}, "done 2")
	s.do(command(&controlv1.CheckpointCommitted{Id: 2}), "commit 2") // a new leader says it again
	s.do(event{task: &taskEvent{task: 0, committed: 2}}, "")
	s.do(event{task: &taskEvent{task: 1, committed: 2}}, "done 2")
}

func TestCoreDeclineAndAbort(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.do(command(&controlv1.TriggerCheckpoint{Id: 1}), "coordinators 1, trigger 1")
	s.do(event{task: &taskEvent{task: 0, declined: 1, reason: "full"}}, "decline 1")
	s.do(snapshot(1, 1), "") // late
	s.do(command(&controlv1.CheckpointAborted{Id: 1}), "abort 1")
	s.do(command(&controlv1.TriggerCheckpoint{Id: 2}), "coordinators 2, trigger 2")
	s.do(snapshot(0, 2), "")
	s.do(command(&controlv1.CheckpointAborted{Id: 2}), "abort 2")
	s.do(snapshot(1, 2), "")
	s.do(command(&controlv1.TriggerCheckpoint{Id: 3}), "coordinators 3, trigger 3")
	s.do(snapshot(0, 3), "")
	s.do(snapshot(1, 3), "upload 3")
	s.do(event{uploaded: &uploaded{id: 3, err: errors.New("no")}}, "decline 3")
	s.do(event{task: &taskEvent{task: 0, snapshot: &task.Snapshot{ID: 4, Err: errors.New("no")}}}, "decline 4")
}

// A new leader takes over: what the former one may have had under way is void,
// known here or not, and what comes of it late is ignored.
func TestCoreAdopt(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.do(command(&controlv1.TriggerCheckpoint{Id: 4}), "coordinators 4, trigger 4")
	s.do(snapshot(0, 4), "")
	s.do(snapshot(1, 4), "upload 4")
	s.do(event{task: &taskEvent{task: 1, finished: true}}, "report, 1 finished")
	s.do(command(&controlv1.Adopt{Epoch: 2, Committed: 3, VoidThrough: 32}), "void 4 to 32, resend, stands 2 running=true ending=false failed=false running finished")
	s.do(event{uploaded: &uploaded{id: 4}}, "")
	s.do(snapshot(0, 5), "") // of a barrier that was on its way
	s.do(event{task: &taskEvent{task: 1, declined: 6, reason: "full"}}, "")
	s.do(command(&controlv1.CheckpointCommitted{Id: 3}), "commit 3")
	s.do(command(&controlv1.TriggerCheckpoint{Id: 33}), "coordinators 33, trigger 33")
	s.do(snapshot(0, 33), "")
	s.do(snapshot(1, 33), "upload 33")
	s.do(event{uploaded: &uploaded{id: 33}}, "ack 33")
	s.do(command(&controlv1.TriggerCheckpoint{Id: 34, Stop: true}), "coordinators 34, trigger 34")
	s.do(event{failed: &controlv1.Failure{}}, "failed")
	s.do(command(&controlv1.Adopt{Epoch: 3, Committed: 33, VoidThrough: 64}), "void 34 to 64, resend, stands 3 running=true ending=true failed=true running finished")
}

func TestCoreAdoptBeforeItRuns(t *testing.T) {
	t.Parallel()
	s := &script{t: t, c: newCore("print")}
	s.do(command(&controlv1.Adopt{Epoch: 2}), "void 1 to 0, resend, stands 2 running=false ending=false failed=false")
}

func TestCoreRefuses(t *testing.T) {
	t.Parallel()
	s := &script{t: t, c: newCore("print")}
	s.do(command(&controlv1.TriggerCheckpoint{Id: 1}), "decline 1")
	s.do(command(&controlv1.Deploy{Fingerprint: "other"}), "failed")
	s.do(command(&controlv1.Deploy{Fingerprint: "print"}), "failed")
	s.do(command(&controlv1.Cancel{}), "cancel, over")
	s.do(event{linkLost: io.EOF}, "over")
}

// The pieces of all tasks lie side by side in one object, and the handles
// find them; what is small travels inside the acknowledgement.
func TestLayOut(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, inlineBytesMax} {
		s := running(t)
		s.do(command(&controlv1.TriggerCheckpoint{Id: 1, ObjectDir: "dir"}), "coordinators 1, trigger 1")
		var up *gathered
		for i := range 2 {
			data := bytes.Repeat([]byte{byte(i + 1)}, size)
			snap := &task.Snapshot{ID: 1, Parts: []task.Part{
				{Operator: "a", Data: data, CRC32C: uint32(i)}, {Operator: "b", Data: nil},
			}}
			if i == 0 { // keyed state is spooled
				snap.Parts[0].Data, snap.Parts[0].Spool = nil, spool.New("")
				_, _ = snap.Parts[0].Spool.Write(data)
			}
			for _, a := range s.c.step(event{task: &taskEvent{task: i, snapshot: snap}}) {
				up = a.upload
			}
		}
		body, err := io.ReadAll(newPieces(up.pieces))
		if err != nil {
			t.Fatal(err)
		}
		for i, sub := range up.ack.GetSubtasks() {
			h := sub.GetHandles()[0]
			got := h.GetInline()
			if size == inlineBytesMax {
				got = body[h.GetOffset() : h.GetOffset()+h.GetLength()]
			}
			if !bytes.Equal(got, bytes.Repeat([]byte{byte(i + 1)}, size)) || h.GetCrc32C() != uint32(i) || len(sub.GetHandles()) != 2 {
				t.Errorf("size %d, task %d: %d bytes by handle %v", size, i, len(got), h)
			}
		}
		if (up.object != "") != (size == inlineBytesMax) || up.ack.GetBytes() != int64(2*size) {
			t.Errorf("size %d: object %q, %d bytes", size, up.object, up.ack.GetBytes())
		}
	}
}

func TestPiecesReadLikeOne(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 6))
	for range 50 {
		var parts []piece
		var whole []byte
		for range r.IntN(6) {
			b := make([]byte, r.IntN(40))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			parts, whole = append(parts, piece{r: bytes.NewReader(b), size: int64(len(b))}), append(whole, b...)
		}
		if err := iotest.TestReader(newPieces(parts), whole); err != nil {
			t.Fatal(err)
		}
	}
}

// memObjects is one object.
type memObjects []byte

func (m memObjects) Put(context.Context, string, io.ReadSeeker, int64) error { return nil }
func (m memObjects) Get(_ context.Context, _ string, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[offset:min(int64(len(m)), offset+length)])), nil
}

func TestRestorer(t *testing.T) {
	t.Parallel()
	data := []byte("....state of the operator")
	sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	keyed := func(sub int32, first, last uint32) *controlv1.StateHandle {
		return &controlv1.StateHandle{
			OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_KEYED, Subtask: sub, Object: "o", Offset: 4, Length: 21,
			Crc32C: sum(data[4:]), KeyGroupFirst: first, KeyGroupLast: last,
		}
	}
	inline := func(sub int32, b string) *controlv1.StateHandle {
		return &controlv1.StateHandle{
			OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Subtask: sub,
			Inline: []byte(b), Length: int64(len(b)), Crc32C: sum([]byte(b)),
		}
	}
	r := newRestorer(memObjects(data), &controlv1.Restore{Handles: []*controlv1.StateHandle{
		keyed(1, 8, 15), keyed(0, 0, 7), inline(2, "c"), inline(0, "a"), inline(1, ""),
	}})
	all, err := r.Operator(t.Context(), "op")
	if err != nil || fmt.Sprintf("%q", all) != `["a" "" "c"]` {
		t.Errorf("operator state %q, %v", all, err)
	}
	read := 0
	err = r.Keyed(t.Context(), "op", dataflow.KeyGroupRange{First: 2, Last: 7}, func(rd io.Reader, _ state.RestorePart) error {
		read++
		b, err := io.ReadAll(rd)
		if string(b) != "state of the operator" {
			t.Errorf("read %q", b)
		}
		return err
	})
	if err != nil || read != 1 {
		t.Errorf("%d snapshots of the overlapping range were read, %v", read, err)
	}
	for name, h := range map[string]func(*controlv1.StateHandle){
		"damaged": func(h *controlv1.StateHandle) { h.Crc32C++ },
		"has":     func(h *controlv1.StateHandle) { h.Length += 5 },
	} {
		bad := keyed(0, 0, 7)
		h(bad)
		r := newRestorer(memObjects(data), &controlv1.Restore{Handles: []*controlv1.StateHandle{bad}})
		err := r.Keyed(t.Context(), "op", dataflow.KeyGroupRange{Last: 7}, func(rd io.Reader, _ state.RestorePart) error {
			_, err := io.Copy(io.Discard, rd)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRestorerReadsChains gives the files of an old subtask in the order in
// which they were written, each with the groups that no newer one has whole.
func TestRestorerReadsChains(t *testing.T) {
	t.Parallel()
	file := func(subtask int32, written, base int64, first, last, wholeFirst, wholeLast uint32) *controlv1.StateHandle {
		b := fmt.Appendf(nil, "%d written by %d", subtask, written)
		return &controlv1.StateHandle{
			OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_KEYED, Subtask: subtask, KeyGroupFirst: first, KeyGroupLast: last,
			Inline: b, Length: int64(len(b)), Crc32C: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)),
			Written: written, Base: base, WholeFirst: wholeFirst, WholeLast: wholeLast,
		}
	}
	handles := []*controlv1.StateHandle{
		file(1, 8, 7, 8, 15, 8, 11), file(1, 9, 8, 8, 15, 12, 15), file(0, 12, 11, 0, 7, 4, 5), file(0, 10, 0, 0, 7, 0, 0), file(0, 11, 10, 0, 7, 1, 0),
	}
	read := func(handles []*controlv1.StateHandle, groups dataflow.KeyGroupRange) (got []string, err error) {
		r := newRestorer(memObjects(nil), &controlv1.Restore{Handles: handles})
		err = r.Keyed(t.Context(), "op", groups, func(rd io.Reader, part state.RestorePart) error {
			b, err := io.ReadAll(rd)
			got = append(got, fmt.Sprint(string(b), " ", part.Follows, " ", part.Groups))
			return err
		})
		return got, err
	}
	for groups, want := range map[dataflow.KeyGroupRange][]string{
		{First: 0, Last: 15}: {
			"0 written by 10 false [{0 3} {6 7}]", "0 written by 11 true [{0 3} {6 7}]", "0 written by 12 true [{0 7}]",
			"1 written by 8 false [{8 11}]", "1 written by 9 true [{8 15}]",
		},
		{First: 4, Last: 5}:   {"0 written by 12 false [{4 5}]"},
		{First: 7, Last: 8}:   {"0 written by 10 false [{7 7}]", "0 written by 11 true [{7 7}]", "0 written by 12 true [{7 7}]", "1 written by 8 false [{8 8}]", "1 written by 9 true [{8 8}]"},
		{First: 13, Last: 13}: {"1 written by 9 false [{13 13}]"},
	} {
		if got, err := read(handles, groups); err != nil || !slices.Equal(got, want) {
			t.Errorf("groups %v: %q, %v, want %q", groups, got, err, want)
		}
	}
	for groups, want := range map[dataflow.KeyGroupRange]int{{First: 0, Last: 7}: 3, {First: 8, Last: 15}: 2, {First: 0, Last: 6}: 0, {First: 0, Last: 15}: 0} {
		for foreign, want := range map[bool]int{false: want, true: 0} {
			r := newRestorer(memObjects(nil), &controlv1.Restore{Handles: handles, FromSavepoint: foreign})
			if got := r.Chain("op", groups); len(got) != want {
				t.Errorf("groups %v, foreign %t: a chain of %d files to go on with, want %d", groups, foreign, len(got), want)
			}
		}
	}
	if got, err := read(handles[1:2], dataflow.KeyGroupRange{First: 0, Last: 15}); err == nil || !strings.Contains(err.Error(), "no file of the chain holds all of key group 8") {
		t.Errorf("a chain without its first file: %q, %v", got, err)
	}
}
