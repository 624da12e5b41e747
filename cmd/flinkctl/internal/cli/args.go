package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checkEmpty refuses a flag that was given without a value, as by a variable
// that is not set: what was meant would be left out silently.
func checkEmpty(c *cobra.Command) error {
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && emptyValue(f.Value) {
			err = usagef("--%s is empty: the variable that gives it may not be set; leave it out %s", f.Name, without(f))
		}
	})
	return err
}

func emptyValue(v pflag.Value) bool {
	if list, ok := v.(pflag.SliceValue); ok {
		return len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
	}
	return v.String() == ""
}

// without says what leaving a flag out means.
func without(f *pflag.Flag) string {
	switch {
	case f.Name == "from-savepoint":
		return "to start without state"
	case f.Name == "drop-state":
		return "to lose no state"
	case f.DefValue != "" && f.DefValue != "[]":
		return "for " + f.DefValue
	}
	return "if it is not wanted"
}

// nameArguments makes the verbs' complaints about their arguments name those
// that Use names, and refuses empty ones.
func nameArguments(c *cobra.Command) {
	count, words := c.Args, strings.Fields(c.Use)[1:]
	if count != nil && !c.HasSubCommands() {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := count(c, args); err != nil {
				return namedFault(c, words, args, err)
			}
			return emptyArgument(words, args[:positional(c, args)])
		}
	}
	for _, s := range c.Commands() {
		nameArguments(s)
	}
}

// namedFault says which argument is missing or too many.
func namedFault(c *cobra.Command, words, args []string, err error) error {
	var own *exitError
	if errors.As(err, &own) {
		return err
	}
	required := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "[") })
	switch {
	case len(args) < len(required):
		return usagef("missing %s: %s", strings.Join(required[len(args):], " and "), c.UseLine())
	case len(args) > len(words):
		return usagef("%q is one argument too many: %s", args[len(words)], c.UseLine())
	}
	return err
}

// emptyArgument refuses what would mean something else than was asked for. A
// KEY may be an empty text. The last of words stands for all that follow.
func emptyArgument(words, args []string) error {
	for i, arg := range args {
		w := strings.Trim(words[min(i, len(words)-1)], "[].")
		if arg == "" && w != "KEY" {
			return usagef("%s is empty: the variable that gives it may not be set", w)
		}
	}
	return nil
}
