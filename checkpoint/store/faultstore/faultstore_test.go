package faultstore_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/faultstore"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/checkpoint/store/storetest"
	"github.com/leatstream/leat/internal/clock"
)

func TestConformanceWithoutFaults(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return faultstore.New(memstore.New(clock.Real{}), nil) })
}

func TestWrapperIsGenerated(t *testing.T) {
	t.Parallel()
	fresh := filepath.Join(t.TempDir(), "wrapper.go")
	if out, err := exec.CommandContext(t.Context(), "go", "run", "./gen", "-in", "../store.go", "-out", fresh).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("wrapper.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("wrapper.go is not what the generator writes: run go generate")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	ctx, inner := t.Context(), memstore.New(clock.Real{})
	var fault faultstore.Fault
	var calls []faultstore.Call
	s := faultstore.New(inner, func(c faultstore.Call) faultstore.Fault {
		calls = append(calls, c)
		return fault
	})
	fault.Before = faultstore.ErrInjected
	if err := s.PutIfAbsent(ctx, "k", []byte("0123456789")); !errors.Is(err, faultstore.ErrInjected) {
		t.Error(err)
	}
	if _, err := inner.Stat(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a refused write happened: %v", err)
	}
	fault = faultstore.Fault{After: faultstore.ErrInjected}
	if err := s.PutIfAbsent(ctx, "k", []byte("0123456789")); !errors.Is(err, faultstore.ErrInjected) {
		t.Error(err)
	}
	if _, err := inner.Stat(ctx, "k"); err != nil {
		t.Errorf("a write whose answer is lost did not happen: %v", err)
	}
	seen := 0
	for _, err := range s.List(ctx, "") {
		if err == nil {
			seen++
		} else if !errors.Is(err, faultstore.ErrInjected) {
			t.Error(err)
		}
	}
	if seen != 1 {
		t.Errorf("%d objects listed before the fault", seen)
	}
	fault = faultstore.Fault{CutAfter: 4}
	r, err := s.Get(ctx, "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if string(data) != "0123" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", data, err)
	}
	if err := s.Delete(ctx, "a", "b"); err != nil {
		t.Error(err)
	}
	if want := (faultstore.Call{Method: "Delete", Key: "a"}); calls[len(calls)-1] != want {
		t.Errorf("hook saw %+v", calls[len(calls)-1])
	}
}
