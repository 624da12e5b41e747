package minicluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/jobview"
)

// Program builds a job's graph from its recorded inputs, in this process. It
// is called by the plan and again by each worker, possibly at the same time.
type Program func(args []string, properties map[string]string) (*graph.JobGraph, error)

// programs stands in for bundles: programs of this process by name.
type programs struct {
	mu     sync.Mutex
	byHash map[string]named // guarded by mu
}

type named struct {
	name  string
	since time.Time
	build Program
}

var _ dispatcher.Bundles = (*programs)(nil)

// hashOf gives a program the form of a bundle's identity.
func hashOf(name string) string {
	sum := sha256.Sum256([]byte("program " + name))
	return hex.EncodeToString(sum[:])
}

func (p *programs) add(name string, since time.Time, build Program) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	sha := hashOf(name)
	p.byHash[sha] = named{name: name, since: since, build: build}
	return sha
}

func (p *programs) find(sha string) (named, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.byHash[sha]
	if !ok {
		return named{}, &jobview.Error{Code: "LEAT1213", Kind: jobview.KindNotFound, What: fmt.Sprintf("no program %s in this process", sha)}
	}
	return n, nil
}

func (n named) view(sha string) jobview.Bundle {
	return jobview.Bundle{SHA256: sha, Name: n.name, JobName: n.name, Uploaded: n.since, Platforms: []string{goruntime.GOOS + "/" + goruntime.GOARCH}}
}

// Put implements dispatcher.Bundles: a one-process cluster runs no files.
func (p *programs) Put(context.Context, string, string) (jobview.Bundle, error) {
	return jobview.Bundle{}, &jobview.Error{Code: "LEAT1220", Kind: jobview.KindInvalid, What: "a cluster in one process runs only its own program",
		Fix: []string{"start a cluster: flinkctl local up"}}
}

// Get implements dispatcher.Bundles.
func (p *programs) Get(_ context.Context, sha string) (jobview.Bundle, error) {
	n, err := p.find(sha)
	if err != nil {
		return jobview.Bundle{}, err
	}
	return n.view(sha), nil
}

// Ref implements dispatcher.Bundles.
func (p *programs) Ref(_ context.Context, sha string) (*controlv1.BundleRef, error) {
	if _, err := p.find(sha); err != nil {
		return nil, err
	}
	return &controlv1.BundleRef{Sha256: sha}, nil
}

// List implements dispatcher.Bundles.
func (p *programs) List(context.Context) ([]jobview.Bundle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]jobview.Bundle, 0, len(p.byHash))
	for sha, n := range p.byHash {
		out = append(out, n.view(sha))
	}
	slices.SortFunc(out, func(a, b jobview.Bundle) int { return strings.Compare(a.SHA256, b.SHA256) })
	return out, nil
}

// Delete implements dispatcher.Bundles.
func (p *programs) Delete(_ context.Context, sha string) error {
	_, err := p.find(sha)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byHash, sha)
	return nil
}
