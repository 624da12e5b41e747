package sourceop

import (
	"encoding/json"
	"fmt"

	"github.com/leatstream/leat/connectors"
)

// event is a message between the coordinator and a subtask of a source. Both
// ends run the same program, so its form is no format.
type event struct {
	// Held is sent by a subtask once, first: the splits it holds.
	Held *[]string `json:"held,omitempty"`
	// Ended is sent by a subtask once for each assignment with More: all its
	// splits have ended.
	Ended *[]connectors.EndedSplit `json:"ended,omitempty"`
	// Took is sent by a subtask that acts on an assignment with Begins: its
	// output is active if it has splits.
	Took bool `json:"took,omitempty"`
	// Release is sent by the coordinator when every subtask has been heard of
	// by those who read the source, or may be taken to be.
	Release *release `json:"release,omitempty"`
	// Assign is sent by the coordinator: more splits to read, perhaps none.
	Assign *assignment `json:"assign,omitempty"`
}

type assignment struct {
	Splits []connectors.Split `json:"splits"`
	// NoMore says that no split will follow.
	NoMore bool `json:"noMore"`
	// More says that splits of another stage follow when all have ended.
	More bool `json:"more,omitempty"`
	// Begins says that a stage begins: splits of those before hold back the
	// watermark until Release.
	Begins bool `json:"begins,omitempty"`
	// Passed are splits that the subtask holds of stages before this one.
	Passed []string `json:"passed,omitempty"`
}

// release ends what splits of earlier stages hold back.
type release struct {
	// Heard says that all subtasks have surely been heard of; else that takes
	// a moment yet.
	Heard bool `json:"heard,omitempty"`
}

func (e event) encode() []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("sourceop: marshalling plain data: %v", err))
	}
	return b
}

func decodeEvent(b []byte) (event, error) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("source event %.80q: %w", b, err)
	}
	return e, nil
}
