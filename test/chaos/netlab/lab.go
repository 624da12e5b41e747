package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// The addresses are prefix.1 for the test itself and prefix.10 upward for the
// groups.
const (
	prefix     = "10.77.0."
	firstGroup = 10
	groupsMax  = 200
)

// Lab is a set of namespaces and the switch between them.
type Lab struct {
	sw *network

	mu     sync.Mutex
	groups map[string]*group // guarded by mu
	hosts  int               // guarded by mu; addresses given out
}

type group struct {
	host string
	ns   *os.File // the namespace
}

// New makes a lab. The calling process must be alone in its network namespace:
// it becomes the host Home.
func New() (*Lab, error) {
	l := &Lab{sw: newNetwork(), groups: make(map[string]*group)}
	if err := up("lo"); err != nil {
		return nil, err
	}
	tun, err := openTun("lab0", Home)
	if err != nil {
		return nil, err
	}
	l.sw.attach(Home, tun)
	return l, nil
}

// Home is the address of the test itself.
const Home = prefix + "1"

// Host returns the address of a group, which is made at its first use.
func (l *Lab) Host(name string) (string, error) {
	g, err := l.group(name)
	if err != nil {
		return "", err
	}
	return g.host, nil
}

// Alias returns a further address of the test itself: for a server in the
// test's process whose links can be told from the test's own.
func (l *Lab) Alias() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host, err := l.next()
	if err != nil {
		return "", err
	}
	if err := address(fmt.Sprintf("lab0:%d", l.hosts), host); err != nil {
		return "", err
	}
	l.sw.alias(host, Home)
	return host, nil
}

func (l *Lab) next() (string, error) {
	if l.hosts == groupsMax {
		return "", fmt.Errorf("more than %d groups", groupsMax)
	}
	l.hosts++
	return fmt.Sprintf("%s%d", prefix, firstGroup+l.hosts-1), nil
}

func (l *Lab) group(name string) (*group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.groups[name]; g != nil {
		return g, nil
	}
	host, err := l.next()
	if err != nil {
		return nil, err
	}
	g := &group{host: host}
	var tun *os.File
	if err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		if g.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if err := up("lo"); err != nil {
			return err
		}
		tun, err = openTun("lab0", host)
		return err
	}); err != nil {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	l.sw.attach(host, tun)
	l.groups[name] = g
	return g, nil
}

// Start starts a command as a process of the group.
func (l *Lab) Start(name string, cmd *exec.Cmd) error {
	g, err := l.group(name)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Setns(int(g.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace of %s: %w", name, err)
		}
		return cmd.Start()
	})
}

// Close takes the links down and waits for the switch.
func (l *Lab) Close() error {
	err := l.sw.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.groups {
		err = errors.Join(err, g.ns.Close())
	}
	return err
}

// onThread runs f on a thread that ends with it, as its namespace is another.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}
