package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// visit is a row of a made-up shop.
type visit struct {
	User string
	Page string
	At   time.Time
}

// visitorV1 is what the shop's first version knew of a user.
type visitorV1 struct {
	Pages  int32
	Last   string
	Banner bool
}

// visitor is what it knows now.
type visitor struct {
	Pages    int64     // was int32
	LastPage string    `leat:"was=Last"`
	Since    time.Time // new: zero for those who are known
	// Banner is gone
}

type visitorsV1 struct{ known state.Value[visitorV1] }

func (p *visitorsV1) Open(ctx *stream.ProcessContext[string, string]) error {
	return p.known.Open(ctx.State(), "known")
}

func (p *visitorsV1) Process(ctx *stream.ProcessContext[string, string], v visit) error {
	u, _ := p.known.Get()
	u.Pages++
	u.Last = v.Page
	p.known.Set(u)
	return nil
}

type visitors struct {
	known state.Value[visitor]
	pages state.Map[string, int64]
}

func (p *visitors) Open(ctx *stream.ProcessContext[string, string]) (err error) {
	err = p.known.Open(ctx.State(), "known",
		state.WithTTL(state.TTL{After: 24 * time.Hour, Update: state.OnReadAndWrite}),
		state.Default(visitor{LastPage: "none"}))
	if err != nil {
		return err
	}
	return p.pages.Open(ctx.State(), "pages")
}

func (p *visitors) Process(ctx *stream.ProcessContext[string, string], v visit) error {
	u, known := p.known.Get()
	if !known {
		u.Since = v.At
	}
	ctx.Emit(fmt.Sprintf("%s: %d pages, the last was %s", v.User, u.Pages, u.LastPage))
	u.Pages++
	u.LastPage = v.Page
	p.known.Set(u)
	n, _ := p.pages.Get(v.Page)
	p.pages.Put(v.Page, n+1)
	for page, n := range p.pages.Sorted() {
		if n > 1 {
			ctx.Emit(fmt.Sprintf("%s: %s %d times", v.User, page, n))
		}
	}
	return nil
}

// visitDriver drives a version of the shop; key is what it partitions by.
func visitDriver[K comparable](t *testing.T, key func(visit) K, p stream.KeyedProcessor[K, visit, string]) *streamtest.Driver {
	t.Helper()
	env := stream.NewEnv()
	visits := stream.From(env, streamtest.Source(visit{}), stream.UID("visits"))
	stream.Process(stream.KeyBy(visits, key), p, stream.UID("visitors")).To(streamtest.Sink(""), stream.UID("out"))
	return streamtest.NewDriver(t, env)
}

func userOf(v visit) string { return v.User }

func TestANewVersionReadsTheStateOfTheOld(t *testing.T) {
	t.Parallel()
	old := visitDriver(t, userOf, &visitorsV1{})
	in := streamtest.Input(old, "visits", visit{})
	in.Push(visit{User: "ann", Page: "home"}, visit{User: "ann", Page: "cart"}, visit{User: "bob", Page: "help"})
	snap := old.Snapshot()

	d := visitDriver(t, userOf, &visitors{})
	out := streamtest.Output(d, "out", "")
	d.Advance(time.Second)
	d.RestoreAt(snap, 3)
	in = streamtest.Input(d, "visits", visit{})
	push := func(user, want string) {
		t.Helper()
		in.Push(visit{User: user, Page: "home"})
		if got := strings.Join(out.Take(), ", "); got != want {
			t.Errorf("%s: %q, want %q", user, got, want)
		}
	}
	push("ann", "ann: 2 pages, the last was cart")
	d.Advance(23 * time.Hour)
	push("ann", "ann: 3 pages, the last was home, ann: home 2 times")
	d.Advance(2 * time.Hour)
	push("ann", "ann: 4 pages, the last was home, ann: home 3 times")
	push("bob", "bob: 0 pages, the last was none")
}

type byNumber struct{ count state.Value[string] }

func (p *byNumber) Open(ctx *stream.ProcessContext[int64, string]) error {
	return p.count.Open(ctx.State(), "known")
}

func (p *byNumber) Process(*stream.ProcessContext[int64, string], visit) error { return nil }

type narrow struct {
	known state.Value[struct{ Pages int8 }]
}

func (p *narrow) Open(ctx *stream.ProcessContext[string, string]) error {
	return p.known.Open(ctx.State(), "known")
}

func (p *narrow) Process(*stream.ProcessContext[string, string], visit) error { return nil }

func TestStateThatCannotBeReadIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	old := visitDriver(t, userOf, &visitorsV1{})
	streamtest.Input(old, "visits", visit{}).Push(visit{User: "ann", Page: "home"})
	snap := old.Snapshot()
	for want, d := range map[string]*streamtest.Driver{
		`state table "leat:key" of operator "visitors" says that the state is by keys of type "string", but the operator's keys are of type "int64": keep the type of the key`: visitDriver(t, func(visit) int64 { return 1 }, &byNumber{}),
		`state table "known" of operator "visitors" holds "value {Pages:int32,Last:string,Banner:bool}"`:                                                                       visitDriver(t, userOf, &narrow{}),
		`Pages: int32 cannot be read as int8: keep the old field and add one of another name`:                                                                                  visitDriver(t, userOf, &narrow{}),
	} {
		err := d.Catch(func() { d.Restore(snap) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}
