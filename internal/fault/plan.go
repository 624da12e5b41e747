package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type action uint8

const (
	actCrash action = iota
	actExit
	actError
	actDelay
	actRemote
)

type rule struct {
	action action
	delay  time.Duration
	at     int64 // the hit at which it acts; 0: at each
}

// parse reads the value of LEAT_FAILPOINTS. An unknown name is an error: a
// test with a misspelt failpoint would pass without testing anything.
func parse(spec string) (map[Point]rule, error) {
	rules := map[Point]rule{}
	for part := range strings.SplitSeq(spec, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, what, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("failpoint %q: want name=action", part)
		}
		if strings.TrimSpace(name) == "*" {
			r, err := parseRule(strings.TrimSpace(what))
			if err != nil {
				return nil, fmt.Errorf("failpoint %q: %w", name, err)
			}
			for _, p := range Names() {
				rules[p] = r
			}
			continue
		}
		p := Point(strings.TrimSpace(name))
		if !slices.Contains(Names(), p) {
			return nil, fmt.Errorf("failpoint %q does not exist; there are %q", p, Names())
		}
		r, err := parseRule(strings.TrimSpace(what))
		if err != nil {
			return nil, fmt.Errorf("failpoint %q: %w", p, err)
		}
		rules[p] = r
	}
	return rules, nil
}

func parseRule(s string) (rule, error) {
	var r rule
	s, at, ok := strings.Cut(s, "@")
	if ok {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil || n < 1 {
			return r, fmt.Errorf("hit number %q: want 1 or more", at)
		}
		r.at = n
	}
	kind, arg, _ := strings.Cut(s, ":")
	switch kind {
	case "crash":
		r.action = actCrash
	case "exit":
		r.action = actExit
	case "remote":
		r.action = actRemote
	case "error":
		r.action = actError
	case "delay":
		d, err := time.ParseDuration(arg)
		if err != nil {
			return r, err
		}
		r.action, r.delay = actDelay, d
	default:
		return r, fmt.Errorf("action %q: want crash, exit, error, remote or delay:DURATION", kind)
	}
	return r, nil
}
