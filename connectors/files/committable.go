package files

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
)

// committableVersion is the version of a committable, which is JSON: the files
// of one subtask in one checkpoint. Version 1 was one file, to be renamed.
const committableVersion = 2

type committable struct {
	Version int            `json:"version"`
	Files   []depot.Sealed `json:"files,omitempty"`
	// Hidden and Final are those of version 1.
	Hidden string `json:"hidden,omitempty"`
	Final  string `json:"final,omitempty"`
}

func encodeCommittable(files []depot.Sealed) ([]byte, error) {
	return json.Marshal(committable{Version: committableVersion, Files: files})
}

func parse(c connectors.Committable) ([]depot.Sealed, error) {
	var p committable
	if err := json.Unmarshal(c.Data, &p); err != nil || p.Version < 1 || p.Version > committableVersion {
		return nil, fmt.Errorf("committable of a file sink is not of version %d: %.80q", committableVersion, c.Data)
	}
	if p.Version == 1 {
		p.Files = []depot.Sealed{{Name: p.Final, Handle: p.Hidden}}
	}
	for _, f := range p.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || f.Handle == "" {
			return nil, fmt.Errorf("committable of a file sink leads out of its folder: %.80q", c.Data)
		}
	}
	return p.Files, nil
}
