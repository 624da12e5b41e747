package k8s_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/leatstream/leat/internal/config"
	"github.com/leatstream/leat/launch/settings"
)

const manifests = "../../deploy/k8s/manifests"

// workload is what the rules below look at.
type workload struct {
	file     string
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Template struct{ Spec pod }
	}
}

type pod struct {
	ServiceAccountName           string `yaml:"serviceAccountName"`
	AutomountServiceAccountToken *bool  `yaml:"automountServiceAccountToken"`
	EnableServiceLinks           *bool  `yaml:"enableServiceLinks"`
	SecurityContext              struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []container
}

type container struct {
	Name, Image    string
	Command        []string
	Env            []struct{ Name, Value string }
	ReadinessProbe map[string]any `yaml:"readinessProbe"`
	LivenessProbe  map[string]any `yaml:"livenessProbe"`
	Resources      struct {
		Requests map[string]string
		Limits   map[string]string
	}
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop, Add []string }
	} `yaml:"securityContext"`
}

func workloads(t *testing.T) []workload {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(manifests, "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out []workload
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
			w := workload{file: file}
			err := dec.Decode(&w)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if w.Kind == "Deployment" || w.Kind == "StatefulSet" || w.Kind == "DaemonSet" || w.Kind == "Job" {
				out = append(out, w)
			}
		}
	}
	return out
}

// TestPodsHaveNoMoreRightsThanTheyNeed holds the manifests to the restricted
// profile, and to what the profile does not ask for.
func TestPodsHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	t.Parallel()
	all := workloads(t)
	if len(all) != 4 {
		t.Fatalf("%d workloads are known, not 4", len(all))
	}
	for _, w := range all {
		p := w.Spec.Template.Spec
		want := func(ok bool, what string) {
			if !ok {
				t.Errorf("%s: %s %s: %s", w.file, w.Kind, w.Metadata.Name, what)
			}
		}
		want(p.ServiceAccountName == w.Metadata.Name, "it has no service account of its own")
		want(isFalse(p.AutomountServiceAccountToken), "it holds a token of the API server")
		want(isFalse(p.EnableServiceLinks), "names of services become variables, which could be taken for options")
		want(p.SecurityContext.RunAsNonRoot && p.SecurityContext.RunAsUser > 0, "it runs as root")
		want(p.SecurityContext.SeccompProfile.Type == "RuntimeDefault", "it has no seccomp profile")
		for _, c := range p.Containers {
			want(isFalse(c.SecurityContext.AllowPrivilegeEscalation), "it may gain rights")
			want(c.SecurityContext.ReadOnlyRootFilesystem, "its root file system can be written")
			want(strings.Join(c.SecurityContext.Capabilities.Drop, ",") == "ALL" && len(c.SecurityContext.Capabilities.Add) == 0, "it has capabilities")
			want(c.ReadinessProbe != nil && c.LivenessProbe != nil, "it lacks probes")
			want(c.Resources.Limits["memory"] != "" && c.Resources.Requests["memory"] != "" && c.Resources.Requests["cpu"] != "", "it lacks bounds")
			want(strings.HasPrefix(c.Image, "leat.local/"), "its image could come from a stranger's registry")
		}
	}
}

func isFalse(b *bool) bool { return b != nil && !*b }

// TestTheProgramsTakeTheConfiguration loads the files as the pods do.
func TestTheProgramsTakeTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, w := range workloads(t) {
		var cfg any
		switch w.Metadata.Name {
		case "jobmanager":
			cfg = &settings.JobManager{}
		case "taskmanager":
			cfg = &settings.TaskManager{}
		default:
			continue
		}
		c := w.Spec.Template.Spec.Containers[0]
		if len(c.Command) != 3 || c.Command[0] != w.Metadata.Name || c.Command[1] != "--config" {
			t.Errorf("%s: the command is %q", w.Metadata.Name, c.Command)
			continue
		}
		env := make(map[string]string)
		for _, e := range c.Env {
			env[e.Name] = e.Value
			if e.Value == "" {
				env[e.Name] = "10.0.0.7"
			}
			env[e.Name] = strings.ReplaceAll(env[e.Name], "$(POD_IP)", "10.0.0.7")
		}
		file := filepath.Join(manifests, "cluster", "config", filepath.Base(c.Command[2]))
		if err := config.New(cfg).Load(file, func(k string) (string, bool) { v, ok := env[k]; return v, ok }); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if j, ok := cfg.(*settings.JobManager); ok && (j.REST.Advertise != "http://10.0.0.7:8081" || j.Control.Advertise != "10.0.0.7:6123") {
			t.Errorf("the jobmanager advertises %s and %s", j.REST.Advertise, j.Control.Advertise)
		}
	}
}
