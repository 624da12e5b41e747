// Package config fills a typed struct from one YAML file, the environment and
// flags, reports all faults at once, and writes the reference table of the
// docs from the same struct. It knows no option by name.
//
// A field is an option when it has a `config:"name"` tag; a struct with the
// tag is a group. Further tags: `default`, `help`, `min` (numbers, durations
// and sizes), `enum` (values by commas). The option ha.endpoints has the flag
// --ha-endpoints and the variable LEAT_HA_ENDPOINTS.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Secret is a value that is never printed.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from every encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Validator is implemented by structs (the root or a group) with rules that
// span options. Each fault begins with the name of the option.
type Validator interface {
	Validate() []error
}

// Where the value of an option came from, weakest first.
const (
	fromDefault = "default"
	fromFile    = "file"
	fromEnv     = "env"
	fromFlag    = "flag"
)

type option struct {
	path   string // "ha.endpoints"
	value  reflect.Value
	kind   string // of kinds
	text   string // the default
	help   string
	min    string
	enum   []string
	source string
	flag   *flagValue
}

func (o *option) flagName() string { return strings.ReplaceAll(o.path, ".", "-") }

func (o *option) envName() string {
	return "LEAT_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(o.path))
}

// Set is the options of one struct.
type Set struct {
	root    any
	options []*option
}

// New reads the tags of *dst. A struct that is tagged wrongly is a mistake of
// the program and panics.
func New(dst any) *Set {
	s := &Set{root: dst}
	s.collect(reflect.ValueOf(dst).Elem(), "")
	seen := make(map[string]string)
	for _, o := range s.options {
		if old, dup := seen[o.flagName()]; dup {
			panic(fmt.Sprintf("config: options %s and %s have one flag", old, o.path))
		}
		seen[o.flagName()] = o.path
	}
	return s
}

func (s *Set) collect(v reflect.Value, prefix string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, ok := f.Tag.Lookup("config")
		if !ok {
			continue
		}
		path := prefix + name
		if f.Type.Kind() == reflect.Struct {
			s.collect(v.Field(i), path+".")
			continue
		}
		o := &option{
			path: path, value: v.Field(i), kind: kindOf(f.Type), text: f.Tag.Get("default"),
			help: f.Tag.Get("help"), min: f.Tag.Get("min"),
		}
		if e := f.Tag.Get("enum"); e != "" {
			o.enum = strings.Split(e, ",")
		}
		if o.kind == "" || o.help == "" {
			panic(fmt.Sprintf("config: option %s has type %s and help %q", path, f.Type, o.help))
		}
		if err := o.set(o.text, fromDefault); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", path, err))
		}
		s.options = append(s.options, o)
	}
}

// flagValue keeps a flag's text until Load: faults of flags are reported with
// all others.
type flagValue struct {
	o    *option
	text string
	set  bool
}

var _ pflag.Value = (*flagValue)(nil)

// String implements pflag.Value; secrets have no default to show.
func (f *flagValue) String() string {
	if f.o == nil {
		return ""
	}
	return f.o.text
}

// Set implements pflag.Value.
func (f *flagValue) Set(s string) error {
	f.text, f.set = s, true
	return nil
}

// Type implements pflag.Value.
func (f *flagValue) Type() string { return f.o.kind }

// Flags adds a flag for each option.
func (s *Set) Flags(fs *pflag.FlagSet) {
	for _, o := range s.options {
		o.flag = &flagValue{o: o}
		flag := fs.VarPF(o.flag, o.flagName(), "", o.help+" ["+o.envName()+"]")
		if o.kind == kindBool {
			flag.NoOptDefVal = "true"
		}
	}
}

// Load sets every option: flag before environment before file before
// default. file "" means none. All faults are in the error.
func (s *Set) Load(file string, env func(string) (string, bool)) error {
	var faults []error
	if file != "" {
		faults = append(faults, s.loadFile(file)...)
	}
	for _, o := range s.options {
		if text, ok := env(o.envName()); ok {
			faults = appendFault(faults, o.set(text, fromEnv), o.envName()+" ("+o.path+")")
		}
		if o.flag != nil && o.flag.set {
			faults = appendFault(faults, o.set(o.flag.text, fromFlag), "--"+o.flagName())
		}
	}
	// Rules over several options say nothing new when one cannot be read.
	if len(faults) == 0 {
		faults = append(faults, validate(reflect.ValueOf(s.root))...)
	}
	return errors.Join(faults...)
}

func appendFault(faults []error, err error, where string) []error {
	if err == nil {
		return faults
	}
	return append(faults, fmt.Errorf("%s: %w", where, err))
}

// validate asks the root and its groups.
func validate(v reflect.Value) []error {
	var faults []error
	if val, ok := v.Interface().(Validator); ok {
		faults = append(faults, val.Validate()...)
	}
	v = v.Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if _, ok := f.Tag.Lookup("config"); ok && f.Type.Kind() == reflect.Struct {
			faults = append(faults, validate(v.Field(i).Addr())...)
		}
	}
	return faults
}

func (s *Set) loadFile(file string) []error {
	b, err := os.ReadFile(file)
	if err != nil {
		return []error{fmt.Errorf("configuration file: %w", err)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		// The parser quotes what it could not read, which may be a secret.
		return []error{fmt.Errorf("configuration file %s is not YAML: %s", file, yamlFault(err))}
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return s.loadNode(file, doc.Content[0], "")
}

// yamlFault keeps the place and drops the quoted text.
func yamlFault(err error) string {
	text := err.Error()
	if i := strings.IndexByte(text, '`'); i >= 0 {
		text = strings.TrimRight(text[:i], " ")
	}
	return text
}

func (s *Set) loadNode(file string, n *yaml.Node, prefix string) []error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("%s:%d: %s must be a group of options", file, n.Line, orRoot(prefix))}
	}
	var faults []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		path := prefix + key.Value
		where := fmt.Sprintf("%s:%d: %s", file, key.Line, path)
		switch o := s.find(path); {
		case o != nil:
			text, err := scalar(val)
			if err == nil {
				err = o.set(text, fromFile)
			}
			faults = appendFault(faults, err, where)
		case s.isGroup(path):
			if val.Tag != "!!null" {
				faults = append(faults, s.loadNode(file, val, path+".")...)
			}
		default:
			faults = append(faults, fmt.Errorf("%s: no such option%s", where, s.nearest(path)))
		}
	}
	return faults
}

func orRoot(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}

// scalar turns a YAML value into the text that set reads.
func scalar(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", nil
		}
		return n.Value, nil
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, c := range n.Content {
			if c.Kind != yaml.ScalarNode || strings.Contains(c.Value, ",") {
				return "", fmt.Errorf("line %d: a list holds plain values without commas", c.Line)
			}
			parts[i] = c.Value
		}
		return strings.Join(parts, ","), nil
	default:
		return "", errors.New("a value was expected, not a group")
	}
}

func (s *Set) find(path string) *option {
	i := slices.IndexFunc(s.options, func(o *option) bool { return o.path == path })
	if i < 0 {
		return nil
	}
	return s.options[i]
}

func (s *Set) isGroup(path string) bool {
	return slices.ContainsFunc(s.options, func(o *option) bool { return strings.HasPrefix(o.path, path+".") })
}

// Print writes the values in force as a configuration file, each with where
// it came from; secrets are hidden.
func (s *Set) Print(w io.Writer) error {
	var b strings.Builder
	var groups []string
	for _, o := range s.options {
		parts := strings.Split(o.path, ".")
		parents := parts[:len(parts)-1]
		for depth, p := range parents {
			if depth >= len(groups) || groups[depth] != p {
				groups = append(slices.Clone(groups[:min(depth, len(groups))]), p)
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", depth), p)
			}
		}
		groups = groups[:len(parents)]
		fmt.Fprintf(&b, "%s%s: %s # %s\n", strings.Repeat("  ", len(parents)), parts[len(parts)-1], o.yamlText(), o.source)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Reference returns the table of all options in Markdown.
func (s *Set) Reference() string {
	var b strings.Builder
	b.WriteString("| option | type | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, o := range s.options {
		def := o.text
		if def == "" {
			def = "–"
		} else {
			def = "`" + def + "`"
		}
		help := o.help
		if len(o.enum) > 0 {
			help += " (" + strings.Join(o.enum, ", ") + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.path, o.kind, def, strings.ReplaceAll(help, "|", "\\|"))
	}
	return b.String()
}

// durationText writes whole durations as people do: 10m, not 10m0s.
func durationText(d time.Duration) string {
	t := d.String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return t
}
