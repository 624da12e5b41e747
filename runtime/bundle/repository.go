package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// keyPrefix is where bundles lie in the object store: the file under its
// identity, what people want to see of it beside it with keySuffix.
const (
	keyPrefix = "bundles/"
	keySuffix = ".json"
	// recordMax bounds the small object beside a bundle.
	recordMax = 1 << 20
)

// Key returns the object key of a bundle.
func Key(sha string) string { return keyPrefix + sha }

// Repository keeps bundles in the cluster's object store. It is safe for
// concurrent use. Errors that people can act on are *jobview.Error.
type Repository struct {
	objects store.Store
	clock   clock.Clock
}

// NewRepository returns the repository in a store.
func NewRepository(objects store.Store, c clock.Clock) *Repository {
	return &Repository{objects: objects, clock: c}
}

// record is the object beside a bundle.
type record struct {
	Name     string    `json:"name"`
	Size     int64     `json:"size"`
	Uploaded time.Time `json:"uploaded"`
	Manifest Manifest  `json:"manifest"`
}

func (r record) view(sha string) jobview.Bundle {
	return jobview.Bundle{
		SHA256: sha, Name: r.Name, Size: r.Size, Uploaded: r.Uploaded,
		Platforms: r.Manifest.Platforms(), JobName: r.Manifest.Name,
	}
}

// Put verifies a bundle file and stores it; a bundle that is there already is
// left as it is. name is the file's name for people.
func (r *Repository) Put(ctx context.Context, name, path string) (jobview.Bundle, error) {
	m, sha, err := Verify(path)
	if err != nil {
		return jobview.Bundle{}, err
	}
	if err := m.CheckProtocol(); err != nil {
		return jobview.Bundle{}, err
	}
	if old, err := r.Get(ctx, sha); err == nil {
		return old, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return jobview.Bundle{}, fmt.Errorf("storing bundle: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	st, err := f.Stat()
	if err != nil {
		return jobview.Bundle{}, fmt.Errorf("storing bundle: %w", err)
	}
	rec := record{Name: name, Size: st.Size(), Uploaded: r.clock.Now().UTC(), Manifest: m}
	// The record comes last: a bundle that is listed is whole.
	if err := r.objects.Put(ctx, Key(sha), f, st.Size()); err != nil {
		return jobview.Bundle{}, fmt.Errorf("storing bundle %s: %w", sha, err)
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return jobview.Bundle{}, fmt.Errorf("storing bundle %s: %w", sha, err)
	}
	if err := r.objects.Put(ctx, Key(sha)+keySuffix, bytes.NewReader(b), int64(len(b))); err != nil {
		return jobview.Bundle{}, fmt.Errorf("storing bundle %s: %w", sha, err)
	}
	return rec.view(sha), nil
}

// Get returns the view of a stored bundle, or LEAT1213.
func (r *Repository) Get(ctx context.Context, sha string) (jobview.Bundle, error) {
	rec, err := r.load(ctx, sha)
	if err != nil {
		return jobview.Bundle{}, err
	}
	return rec.view(sha), nil
}

// Manifest returns the manifest of a stored bundle, or LEAT1213.
func (r *Repository) Manifest(ctx context.Context, sha string) (Manifest, error) {
	rec, err := r.load(ctx, sha)
	return rec.Manifest, err
}

// Ref returns what a taskmanager needs to fetch a bundle, or LEAT1213.
func (r *Repository) Ref(ctx context.Context, sha string) (*controlv1.BundleRef, error) {
	rec, err := r.load(ctx, sha)
	if err != nil {
		return nil, err
	}
	return &controlv1.BundleRef{Sha256: sha, Key: Key(sha), Size: rec.Size}, nil
}

func (r *Repository) load(ctx context.Context, sha string) (record, error) {
	if !ValidSHA256(sha) {
		return record{}, errBundleNotFound(sha)
	}
	body, err := r.objects.Get(ctx, Key(sha)+keySuffix, 0, -1)
	if errors.Is(err, store.ErrNotFound) {
		return record{}, errBundleNotFound(sha)
	}
	if err != nil {
		return record{}, fmt.Errorf("reading bundle %s: %w", sha, err)
	}
	b, err := io.ReadAll(io.LimitReader(body, recordMax))
	if err = errors.Join(err, body.Close()); err != nil {
		return record{}, fmt.Errorf("reading bundle %s: %w", sha, err)
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		return record{}, errDamaged(r.objects.URI(Key(sha)+keySuffix), err.Error())
	}
	return rec, nil
}

// List returns all stored bundles, the newest first.
func (r *Repository) List(ctx context.Context) ([]jobview.Bundle, error) {
	var out []jobview.Bundle
	for info, err := range r.objects.List(ctx, keyPrefix) {
		if err != nil {
			return nil, fmt.Errorf("listing bundles: %w", err)
		}
		sha, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, keyPrefix), keySuffix)
		if !ok || !ValidSHA256(sha) {
			continue
		}
		rec, err := r.load(ctx, sha)
		if err != nil {
			return nil, err
		}
		out = append(out, rec.view(sha))
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Uploaded.After(out[j].Uploaded) })
	return out, nil
}

// Delete removes a bundle; one that is not there is LEAT1213. The caller
// makes sure that no job needs it.
func (r *Repository) Delete(ctx context.Context, sha string) error {
	if _, err := r.load(ctx, sha); err != nil {
		return err
	}
	// The record goes first: what is listed is whole.
	if err := r.objects.Delete(ctx, Key(sha)+keySuffix); err != nil {
		return fmt.Errorf("deleting bundle %s: %w", sha, err)
	}
	if err := r.objects.Delete(ctx, Key(sha)); err != nil {
		return fmt.Errorf("deleting bundle %s: %w", sha, err)
	}
	return nil
}
