package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pipeline is the roster's way, in its order.
var pipeline = []string{"fetcher", "normalizer", "productiv-publisher"}

// service is one running program.
type service struct {
	name  string
	cmd   *exec.Cmd
	ready string
}

// start runs a program and waits until it says that it is ready.
func start(ctx context.Context, bin, name, config string) (*service, error) {
	s := &service{name: name, cmd: exec.CommandContext(ctx, filepath.Join(bin, name), "-config", config)}
	logs, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	addresses := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			var line struct {
				Listen string `json:"listen"`
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Listen != "" {
				addresses <- line.Listen
			}
		}
	}()
	select {
	case address := <-addresses:
		s.ready = "http://" + address + "/readyz"
	case <-time.After(20 * time.Second):
		return nil, fmt.Errorf("%s does not say where it listens", name)
	}
	return s, s.await(ctx)
}

func (s *service) await(ctx context.Context) error {
	for range 400 {
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
func (s *service) peak() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
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
