package main

import "github.com/leatstream/leat/columnar"

// each gives the batches of a feed to fn, as a reader does that fills one
// piece of memory again and again.
func each(in *feed, m *meter, fn func(rows []row, times []int64)) {
	rows, times := make([]row, columnar.BatchRowsMax), make([]int64, columnar.BatchRowsMax)
	for {
		if in.at >= in.warm {
			m.start()
		}
		n, _ := in.fill(rows, times)
		if n == 0 {
			return
		}
		fn(rows[:n], times[:n])
	}
}

func loopBare(_ *funcs, in, two *feed, m *meter) {
	nothing := func([]row, []int64) {}
	each(in, m, nothing)
	if two != nil {
		each(two, m, nothing)
	}
}

func loopFilterMap(f *funcs, in, _ *feed, m *meter) {
	var out converted
	each(in, m, func(rows []row, _ []int64) {
		for i := range rows {
			if f.keep(rows[i]) {
				out = f.convert(rows[i])
				f.takeConverted(&out)
			}
		}
	})
}

func loopCount(f *funcs, in, _ *feed, m *meter) {
	totals := make(map[string]*total)
	var out result
	each(in, m, func(rows []row, _ []int64) {
		for i := range rows {
			k := f.key(rows[i])
			t := totals[k]
			if t == nil {
				t = new(total)
				totals[k] = t
			}
			f.add(t, rows[i])
			if f.due(t) {
				out = f.result(k, *t)
				f.takeResult(&out)
			}
		}
	})
}

func loopCountWindow(f *funcs, in, _ *feed, m *meter) { loopWindows(f, in, m, 60*minute) }

func loopTumbling(f *funcs, in, _ *feed, m *meter) { loopWindows(f, in, m, 10*minute) }

// loopWindows has a map of the window in work: rows come in order.
func loopWindows(f *funcs, in *feed, m *meter, size int64) {
	totals := make(map[string]*total)
	end := size
	var out result
	fire := func() {
		for k, t := range totals {
			out = f.result(k, *t)
			f.takeResult(&out)
		}
		totals = make(map[string]*total)
	}
	each(in, m, func(rows []row, times []int64) {
		for i := range rows {
			if times[i] >= end {
				fire()
				end += size
			}
			k := f.key(rows[i])
			t := totals[k]
			if t == nil {
				t = new(total)
				totals[k] = t
			}
			f.add(t, rows[i])
		}
	})
	fire()
}

// open is a session that has not ended.
type open struct {
	end int64
	acc total
}

// loopSession looks for what has ended once a second of event time.
func loopSession(f *funcs, in, _ *feed, m *meter) {
	sessions := make(map[string]*open)
	var out result
	take := func(k string, s *open) {
		out = f.result(k, s.acc)
		f.takeResult(&out)
	}
	looked := int64(0)
	each(in, m, func(rows []row, times []int64) {
		for i := range rows {
			k, t := f.key(rows[i]), times[i]
			s := sessions[k]
			switch {
			case s == nil:
				s = &open{}
				sessions[k] = s
			case s.end < t:
				take(k, s)
				*s = open{}
			}
			s.end = t + gapMillis
			f.add(&s.acc, rows[i])
		}
		if now := times[len(times)-1]; now >= looked+1000 {
			looked = now
			for k, s := range sessions {
				if s.end < now {
					take(k, s)
					delete(sessions, k)
				}
			}
		}
	})
	for k, s := range sessions {
		take(k, s)
	}
}

// joined is what a join has of a key: rows of both sides, oldest first.
type joined struct{ sides [2][]timedRow }

type timedRow struct {
	time int64
	row  row
}

func loopJoin(f *funcs, in, two *feed, m *meter) {
	keys := make(map[string]*joined)
	var out pair
	add := func(side int, r row, t int64) {
		k := f.key(r)
		x := keys[k]
		if x == nil {
			x = &joined{}
			keys[k] = x
		}
		others := x.sides[1-side]
		// What is too old for any row to come goes when its key is met again.
		for len(others) > 0 && others[0].time < t-spanMillis-1000 {
			others = others[1:]
		}
		x.sides[1-side] = others
		for i := range others {
			if d := others[i].time - t; d >= -spanMillis && d <= spanMillis {
				l, rt := r, others[i].row
				if side == 1 {
					l, rt = rt, l
				}
				out = f.join(l, rt)
				f.takePair(&out)
			}
		}
		x.sides[side] = append(x.sides[side], timedRow{t, r})
	}
	rows, times := make([]row, columnar.BatchRowsMax), make([]int64, columnar.BatchRowsMax)
	each(in, m, func(left []row, leftTimes []int64) {
		for i := range left {
			add(0, left[i], leftTimes[i])
		}
		n, _ := two.fill(rows, times)
		for i := range rows[:n] {
			add(1, rows[i], times[i])
		}
	})
}
