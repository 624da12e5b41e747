package ctlrpc

import "testing"

func TestLeaderIn(t *testing.T) {
	t.Parallel()
	for refusal, want := range map[string]string{
		standbyMark + "; the leader is 10.0.0.7:6123":  "10.0.0.7:6123",
		standbyMark + "; the leader is jm-1.leat:6123": "jm-1.leat:6123",
		standbyMark + "; the leader is unknown":        "",
		standbyMark:                                    "",
		"names must be unique: tm-1:8080 is taken":     "",
	} {
		if got := leaderIn(refusal); got != want {
			t.Errorf("%q names %q, want %q", refusal, got, want)
		}
	}
}
