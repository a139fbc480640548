package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// broker is a NATS server, or a cluster of three that replicates everything, in one process of its own. Every node
// writes through to the disk before it acknowledges.
type broker struct {
	// URL names all nodes for clients.
	URL string
	// Nodes is 1 or 3, and so is the number of replicas of every stream.
	Nodes int
	// Monitors are the nodes' HTTP addresses.
	Monitors []string

	dir   string
	cmd   *exec.Cmd
	stdin io.Closer
}

// startBroker starts this program again as the broker.
func startBroker(ctx context.Context, dir string, nodes int) (*broker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &broker{dir: dir, cmd: exec.CommandContext(ctx, self, "-serve", dir, "-nodes", strconv.Itoa(nodes))}
	b.cmd.Stderr = os.Stderr
	if b.stdin, err = b.cmd.StdinPipe(); err != nil { // the child ends with it, so it cannot outlive us
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, b)
	}
	if err != nil {
		b.stop()
		return nil, fmt.Errorf("the broker does not say where it listens: %w", err)
	}
	return b, nil
}

func (b *broker) stop() {
	_ = b.stdin.Close()
	_ = b.cmd.Wait() // what it ends with does not matter any more
}

// Serve is the broker's process: it runs until its input ends.
func Serve(dir string, nodes int, in io.Reader, out io.Writer) error {
	b := broker{Nodes: nodes}
	routes, err := freeAddresses(nodes)
	if err != nil {
		return err
	}
	var urls []string
	var running []*server.Server
	for i := range nodes {
		s, err := server.NewServer(nodeOptions(dir, i, routes))
		if err != nil {
			return err
		}
		s.Start()
		defer s.WaitForShutdown()
		defer s.Shutdown()
		if !s.ReadyForConnections(30 * time.Second) {
			return fmt.Errorf("node %d is not ready", i)
		}
		running, urls = append(running, s), append(urls, s.ClientURL())
		b.Monitors = append(b.Monitors, "http://"+s.MonitorAddr().String())
	}
	if err := awaitCluster(running); err != nil {
		return err
	}
	b.URL = strings.Join(urls, ",")
	if err := json.NewEncoder(out).Encode(b); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// awaitCluster returns when one node leads and knows all the others: before, a replicated stream is refused.
func awaitCluster(nodes []*server.Server) error {
	if len(nodes) == 1 {
		return nil
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-look.C {
		for _, s := range nodes {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(nodes) {
				return nil
			}
		}
	}
	return errors.New("the cluster has no leader")
}

func nodeOptions(dir string, i int, routes []*net.TCPAddr) *server.Options {
	o := &server.Options{
		ServerName: fmt.Sprintf("node-%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
		NoSigs: true, NoLog: true, JetStream: true, StoreDir: filepath.Join(dir, strconv.Itoa(i)), SyncAlways: true, JetStreamMaxStore: 128 << 30,
	}
	o.JetStreamLimits.DefaultMaxConsumers = -1 // a thousand a stream otherwise, and each connection has one
	if len(routes) > 1 {
		o.Cluster = server.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: routes[i].Port}
		for _, r := range routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: r.String()})
		}
	}
	return o
}

// freeAddresses holds all listeners open until each has its own port.
func freeAddresses(n int) (addresses []*net.TCPAddr, err error) {
	for range n {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().(*net.TCPAddr))
	}
	return addresses, nil
}

// received is how many messages the nodes got so far, from clients and from each other.
func (b *broker) received(ctx context.Context) (total int64, err error) {
	for _, monitor := range b.Monitors {
		var v server.Varz
		if err := getJSON(ctx, monitor+"/varz", &v); err != nil {
			return 0, err
		}
		total += v.InMsgs
	}
	return total, nil
}

// disk is the bytes of all files of all nodes.
func (b *broker) disk() (total int64) {
	_ = filepath.WalkDir(b.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // files come and go under a running server
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

func getJSON(ctx context.Context, url string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}
