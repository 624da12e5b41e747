package hybrid

import (
	"fmt"
	"strconv"
	"strings"
)

// positionVersion is the first byte of a split's position; then comes one of
// flags (1: the split has ended), then the source's own position.
// docs/formats/hybrid.md.
const positionVersion = 1

type position struct {
	ended bool
	inner []byte
}

func (p position) encode() []byte {
	b := make([]byte, 2, 2+len(p.inner))
	b[0] = positionVersion
	if p.ended {
		b[1] = 1
	}
	return append(b, p.inner...)
}

func parsePosition(b []byte) (position, error) {
	if len(b) < 2 || b[0] != positionVersion || b[1] > 1 {
		return position{}, fmt.Errorf("position %.40x of a hybrid source is not of version %d", b, positionVersion)
	}
	return position{ended: b[1] == 1, inner: b[2:]}, nil
}

// idOf is the id of a split: that of its source after the source's number.
func idOf(stage int, id string) string { return strconv.Itoa(stage) + "/" + id }

func parseID(id string, stages int) (stage int, inner string, err error) {
	n, inner, ok := strings.Cut(id, "/")
	stage, err = strconv.Atoi(n)
	if !ok || err != nil || stage < 0 {
		return 0, "", fmt.Errorf("split %q is none of a hybrid source", id)
	}
	if stage >= stages {
		return 0, "", fmt.Errorf("split %q is of source %d of a hybrid source that has %d: sources may be added at its end, but not taken away", id, stage+1, stages)
	}
	return stage, inner, nil
}
