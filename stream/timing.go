package stream

// timing says what a stream lacks for steps that go by event time; the zero
// value lacks nothing.
type timing struct {
	// lacks names the source that moves no watermark, and the remedy.
	lacks string
	// aside says that it is meant so (NoWatermarks): where other inputs of a
	// step move the watermark, nothing is lacking.
	aside bool
	// bare names a source set aside whose rows have no times, and the remedy.
	bare string
}

// fault is what a step by event time is told of the stream; "" if it may be.
func (t timing) fault() string {
	if t.lacks != "" {
		return t.lacks
	}
	return t.bare
}

// timingOf is the timing behind a step whose rows have the times of those of
// its first input. A source that lacks watermarks counts, the first of a's
// before that of b; one set aside only if there is no other.
func timingOf(a, b timing) timing {
	switch {
	case a.lacks != "" && !a.aside:
		return a
	case b.lacks != "" && !b.aside:
		return b
	case a.aside && b.aside:
		return a
	}
	return timing{bare: a.bare}
}

// timingOfBoth is timingOf where rows may have the times of either input.
func timingOfBoth(a, b timing) timing {
	t := timingOf(a, b)
	if t.bare == "" {
		t.bare = b.bare
	}
	return t
}

// timed makes sure that an input has event time.
func timed(e *Env, where, what string, in timing) {
	if f := in.fault(); f != "" {
		e.fail(where, "%s needs event time, but %s", what, f)
	}
}

// timedBoth makes sure that two inputs together have event time, and the rows
// of each have times.
func timedBoth(e *Env, where, what string, a, b timing) {
	for i, in := range []timing{a, b} {
		switch other := []timing{b, a}[i]; {
		case !in.aside || other.aside && i == 0:
			timed(e, where, what, in)
		case in.bare != "":
			e.fail(where, "%s needs event time, but %s", what, in.bare)
		}
	}
}
