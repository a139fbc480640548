package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// pipeline is the roster's way, in its order.
var pipeline = []string{"fetcher", "normalizer", "productiv-publisher"}

// everything is what a deployment runs.
var everything = append(pipeline[:len(pipeline):len(pipeline)], "deprovisioner")

// startAll runs n replicas of each program at the same time, and returns when all are ready. What has started is
// returned, whatever the error.
func startAll(ctx context.Context, bin, config string, n int) ([]*service, error) {
	running := make([]*service, n*len(everything))
	var group errgroup.Group
	for i := range running {
		group.Go(func() (err error) {
			running[i], err = start(ctx, bin, everything[i%len(everything)], config)
			return err
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(running, func(s *service) bool { return s == nil }), err
}

// service is one running program.
type service struct {
	name  string
	cmd   *exec.Cmd
	ready string

	mu sync.Mutex
	// complaints counts the warnings and errors of its log by message.
	complaints map[string]int
}

// start runs a program and waits until it says that it is ready.
func start(ctx context.Context, bin, name, config string) (*service, error) {
	s := &service{name: name, cmd: exec.CommandContext(ctx, filepath.Join(bin, name), "-config", config), complaints: map[string]int{}}
	logs, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	addresses := make(chan string, 1)
	go s.read(logs, addresses)
	select {
	case address := <-addresses:
		s.ready = "http://" + address + "/readyz"
	case <-time.After(20 * time.Second):
		s.stop()
		return nil, fmt.Errorf("%s does not say where it listens", name)
	}
	return s, s.await(ctx)
}

// read takes the log in until it ends, and passes on where the program listens.
func (s *service) read(logs io.Reader, addresses chan<- string) {
	for lines := bufio.NewScanner(logs); lines.Scan(); {
		var line struct{ Level, Msg, Listen, Reason string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		if line.Listen != "" {
			addresses <- line.Listen
		}
		if line.Level == "WARN" || line.Level == "ERROR" {
			s.mu.Lock()
			s.complaints[fmt.Sprintf("%s: %s %s", s.name, line.Msg, line.Reason)]++
			s.mu.Unlock()
		}
	}
}

// complaints sums up what the programs complained about; empty when nothing was wrong.
func complaints(running []*service) map[string]int {
	all := map[string]int{}
	for _, s := range running {
		s.mu.Lock()
		for what, n := range s.complaints {
			all[what] += n
		}
		s.mu.Unlock()
	}
	return all
}

func (s *service) await(ctx context.Context) error {
	for range 4000 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ready, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s never became ready", s.name)
}

// peak is the most memory that the program held at once, in MiB.
func (s *service) peak() int { return peak(s.cmd.Process.Pid) }

func peak(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib / 1024
		}
	}
	return 0
}

// cpu is the processor time that a process has used, 0 where /proc does not tell.
func cpu(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
}

func (s *service) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// stopAll asks all to stop before it waits for the first.
func stopAll(running []*service) {
	for _, s := range running {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, s := range running {
		_ = s.cmd.Wait()
	}
}
