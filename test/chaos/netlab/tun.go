package netlab

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// mtu is large so that the switch has fewer packets to move.
const mtu = 9000

// queueLen is how many packets wait for the switch.
const queueLen = 10_000

// openTun makes a device in the calling thread's namespace that reaches the
// whole lab.
func openTun(name, host string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w: the lab needs it, and root", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make device %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), "tun-"+host)
	if err := configure(name, host); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func configure(name, host string) error {
	if err := address(name, host); err != nil {
		return err
	}
	if err := set(name, "MTU", unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }); err != nil {
		return err
	}
	if err := set(name, "queue", unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(queueLen); return nil }); err != nil {
		return err
	}
	return up(name)
}

// address gives a device one more address.
func address(label, host string) error {
	if err := set(label, "address", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return putAddr(r, host) }); err != nil {
		return err
	}
	return set(label, "mask", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return putAddr(r, "255.255.255.0") })
}

func up(name string) error {
	return set(name, "flags", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
}

func putAddr(r *unix.Ifreq, host string) error {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	return r.SetInet4Addr(a.AsSlice())
}

func set(name, what string, request uint, fill func(*unix.Ifreq) error) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }() // it was only asked
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := fill(ifr); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, request, ifr); err != nil {
		return fmt.Errorf("%s of device %s: %w", what, name, err)
	}
	return nil
}
