package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionMax is how long completion may take to ask for live names; then
// there are none.
const completionMax = 300 * time.Millisecond

// completeJobs completes the names of jobs, for the first word of verbs that
// take a JOB and of nouns that may. It never says that it could not.
func (a *app) completeJobs(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionMax)
	defer cancel()
	jobs, err := a.client().Jobs(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, j := range jobs {
		if strings.HasPrefix(j.Name, toComplete) {
			out = append(out, j.Name+"\t"+j.State)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeTaskManagers does the same for taskmanagers.
func (a *app) completeTaskManagers(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionMax)
	defer cancel()
	list, err := a.client().TaskManagers(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, m := range list {
		if strings.HasPrefix(m.ID, toComplete) {
			out = append(out, m.ID)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completions gives each verb that takes live names their completion.
func (a *app) completions(c *cobra.Command) {
	words := strings.Fields(c.Use)
	switch {
	case c.Annotations[takesJob] != "", len(words) > 1 && strings.Trim(words[1], "[]") == "JOB":
		c.ValidArgsFunction = a.completeJobs
	case c.CommandPath() == "flinkctl taskmanager get":
		c.ValidArgsFunction = a.completeTaskManagers
	}
	for _, s := range c.Commands() {
		a.completions(s)
	}
}
