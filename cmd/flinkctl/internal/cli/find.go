package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
)

// findJob resolves a name, an id or a unique prefix of an id, for a verb that
// changes something. Of several jobs with one name the only one that has not
// ended wins.
func (a *app) findJob(ctx context.Context, ref string) (restapi.JobOverview, error) {
	set, err := a.jobsOf(ctx, ref)
	if err != nil {
		return restapi.JobOverview{}, err
	}
	return theOne(ref, set)
}

// lookAtJob is findJob for a verb that only reads: when none of that name
// lives it takes the newest, and says so.
func (a *app) lookAtJob(ctx context.Context, ref string) (restapi.JobOverview, error) {
	set, err := a.jobsOf(ctx, ref)
	if err != nil {
		return restapi.JobOverview{}, err
	}
	if len(set) > 1 && set[0].Name == ref && terminal(set[0].State) {
		fmt.Fprintf(a.err, "%d jobs named %q have ended and none lives; this is the newest, %s\n", len(set), ref, whichJob(set[0]))
		return set[0], nil
	}
	return theOne(ref, set)
}

// jobsOf are the jobs that ref may mean, the newest first: those of that name
// that live, else those that have ended, else those whose id begins so. An
// empty ref, with which every id begins, does not come here: emptyArgument.
func (a *app) jobsOf(ctx context.Context, ref string) ([]restapi.JobOverview, error) {
	jobs, err := a.client().Jobs(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(jobs, func(x, y restapi.JobOverview) int { return cmp.Compare(y.StartTime, x.StartTime) })
	var byName, live, byID []restapi.JobOverview
	for _, j := range jobs {
		if j.Name == ref {
			byName = append(byName, j)
			if !terminal(j.State) {
				live = append(live, j)
			}
		}
		if strings.HasPrefix(j.ID, strings.ToLower(ref)) {
			byID = append(byID, j)
		}
	}
	for _, set := range [][]restapi.JobOverview{live, byName, byID} {
		if len(set) > 0 {
			return set, nil
		}
	}
	return nil, exitWith(exitNotFound, coded("LEAT0404", fmt.Sprintf("no job is named %q, nor does an id begin so", ref), "flinkctl job list"))
}

// theOne refuses to choose.
func theOne(ref string, set []restapi.JobOverview) (restapi.JobOverview, error) {
	if len(set) == 1 {
		return set[0], nil
	}
	e := coded("LEAT0409", fmt.Sprintf("%q is the name or prefix of %d jobs: give the id of one", ref, len(set)))
	for _, j := range set {
		e.Fix = append(e.Fix, whichJob(j))
	}
	return restapi.JobOverview{}, exitWith(exitConflict, e)
}

func whichJob(j restapi.JobOverview) string {
	return fmt.Sprintf("%s  (%s, %s, started %s UTC)", j.ID, j.Name, j.State, time.UnixMilli(j.StartTime).UTC().Format(time.DateTime))
}

func terminal(state string) bool {
	return state == "FINISHED" || state == "FAILED" || state == "CANCELED"
}
