package main

import (
	"cmp"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
)

// Payment is what is read. Amounts are held in cents.
type Payment struct {
	ID     string `json:"transaction_id"`
	Card   string `json:"card"`
	Amount int64  `json:"amount" leat:"decimal=2"`
	Time   int64  `json:"ts" leat:"time=millis"`
}

// Alert tells of small payments and the large one after them.
type Alert struct {
	Card  string   `json:"card"`
	Small []string `json:"small"` // ids of payments
	Large string   `json:"large"`
	Lost  int64    `json:"amount" leat:"decimal=2"`
	Start int64    `json:"start" leat:"time=millis"`
	End   int64    `json:"end" leat:"time=millis"`
}

// What is small and large, in cents, and the job's times.
const (
	smallMost      = 200
	largeLeast     = 50_000
	probingTime    = time.Minute
	outOfOrderness = 5 * time.Second
)

func isSmall(p Payment) bool { return p.Amount <= smallMost }
func isLarge(p Payment) bool { return p.Amount >= largeLeast }

// probed is the pattern: two or more small payments with a card, all there are
// until a large one, and whatever else in between. No payment is in two alerts.
func probed() *cep.Pattern[Payment] {
	return cep.Begin("small", isSmall).TimesOrMore(2).Greedy().
		FollowedBy("large", isLarge).
		Within(probingTime).
		AfterMatch(cep.SkipPastLast())
}

// Sinks are where the results go.
type Sinks struct {
	Alerts connectors.SinkOf[Alert]
	Late   connectors.SinkOf[Payment]
}

// Build adds the job to env.
func Build(env *stream.Env, payments connectors.SourceOf[Payment], to Sinks) {
	all := stream.From(env, payments, stream.UID("transactions"),
		stream.TimestampMillis(func(p Payment) int64 { return p.Time }),
		stream.Watermarks(stream.BoundedOutOfOrderness(outOfOrderness)))
	byCard := stream.KeyBy(all, func(p Payment) string { return p.Card })

	found := cep.Detect(byCard, probed()).
		OrderBy(func(a, b Payment) int { return cmp.Compare(a.ID, b.ID) })
	cep.Select(found, alertOf, stream.UID("probed-cards")).
		To(to.Alerts, stream.UID("fraud-alerts"))
	found.Late().To(to.Late, stream.UID("late-transactions"))
}

func alertOf(m cep.Match[Payment]) Alert {
	large := m.Last("large")
	a := Alert{Card: large.Card, Large: large.ID, Lost: large.Amount, Start: m.Start().UnixMilli(), End: m.End().UnixMilli()}
	for _, p := range m.Rows("small") {
		a.Small = append(a.Small, p.ID)
	}
	return a
}
