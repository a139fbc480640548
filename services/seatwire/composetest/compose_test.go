package composetest

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var engine = flag.Bool("compose", false, "run docker-compose.yml on the container engine of this machine")

var services = []string{"fetcher", "normalizer", "productiv-publisher", "deprovisioner"}

func TestCompose(t *testing.T) {
	if !*engine {
		t.Skip("make compose-test runs this")
	}
	d := deploy(t)
	// In order: each goes on where the one before ended, and without the story there is nothing to go on with.
	if !t.Run("the story is told to its end", d.story) {
		return
	}
	t.Run("containers are confined", d.confined)
	t.Run("a NATS node is killed", d.nodeKilled)
	for replica := 1; replica <= 2; replica++ {
		t.Run(fmt.Sprintf("replica %d of each service is killed", replica), func(t *testing.T) { d.replicaKilled(t, replica) })
		t.Run(fmt.Sprintf("replica %d of each service is cut off from NATS", replica), func(t *testing.T) { d.replicaCutOff(t, replica) })
	}
	t.Run("more replicas", d.scaled)
	t.Run("nothing readable is on the disks", d.encrypted)
}

func (d *deployment) story(t *testing.T) {
	demo := d.container(t, "demo", 1)
	await(t, "the story", func() error {
		told := d.must(t, "docker", "logs", demo)
		if running := d.must(t, "docker", "inspect", "--format", "{{.State.Running}}", demo); running != "true" {
			t.Fatalf("the story ended early:\n%s", told)
		}
		if _, end, found := strings.Cut(told, "\nThe end after "); found {
			end, _, _ = strings.Cut(end, "\n")
			t.Log(end)
			return nil
		}
		return errors.New("goes on")
	})
	d.healthy(t)
	d.judge(t)
}

// confined: nobody is root or can write to its image, and who calls no vendor cannot reach one.
func (d *deployment) confined(t *testing.T) {
	for _, service := range append(services, "demo", "nats-1", "nats-2", "nats-3") {
		id := d.container(t, service, 1)
		if uid := strings.Fields(d.must(t, "docker", "top", id, "-o", "pid,uid")); uid[len(uid)-1] == "0" {
			t.Errorf("%s runs as root", service)
		}
		format := "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}}"
		if got := d.must(t, "docker", "inspect", "--format", format, id); got != "true [ALL] [no-new-privileges:true] false" {
			t.Errorf("%s: %s", service, got)
		}
	}
	format := fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", d.project+"_vendors")
	vendor := "http://" + d.must(t, "docker", "inspect", "--format", format, d.container(t, "demo", 1)) + ":8081/_sim/state"
	for _, service := range services {
		_, err := d.run("docker", "exec", d.container(t, service, 1), "/probe", vendor)
		if reached := err == nil; reached != (service != "normalizer") {
			t.Errorf("%s reaches the vendors' network: %t (%v)", service, reached, err)
		}
	}
}

func (d *deployment) nodeKilled(t *testing.T) {
	node := d.container(t, "nats-1", 1)
	d.round(t, func(service string) {
		if service == services[0] {
			d.must(t, "docker", "kill", "--signal", "KILL", node)
		}
	})
	d.must(t, "docker", "start", node)
	d.healthy(t)
	d.judge(t)
}

func (d *deployment) replicaKilled(t *testing.T, replica int) {
	d.round(t, func(service string) {
		d.must(t, "docker", "kill", "--signal", "KILL", d.container(t, service, replica))
	})
	for _, service := range services {
		d.must(t, "docker", "start", d.container(t, service, replica))
	}
	d.rejoined(t, replica)
}

func (d *deployment) replicaCutOff(t *testing.T, replica int) {
	network := d.project + "_nats"
	d.round(t, func(service string) {
		d.must(t, "docker", "network", "disconnect", network, d.container(t, service, replica))
	})
	for _, service := range services {
		d.must(t, "docker", "network", "connect", "--alias", service, network, d.container(t, service, replica))
	}
	d.rejoined(t, replica)
}

// rejoined waits for replicas that come back, and judges what they found to do.
func (d *deployment) rejoined(t *testing.T, replica int) {
	for _, service := range services {
		d.ready(t, service, replica)
	}
	d.judge(t)
}

// round changes people, asks for a sync and for licences back, and strikes each service once it is in the middle of its
// part. The work must then come to its right end with what is left.
func (d *deployment) round(t *testing.T, strike func(service string)) {
	began := time.Now()
	pages, writes, applied := d.pages(t), d.writes(t), len(d.applied(t))
	d.latency(t, 200*time.Millisecond)
	leavers := d.peopleChange(t)
	d.seatwire(t, "sync", plan)
	d.seatwire(t, append([]string{"deprovision", "submit", plan, "--source", "hr", "--reason", "left the company", "--email"}, leavers...)...)

	middles := map[string]func() bool{
		"fetcher":             func() bool { return d.pages(t) > pages+3 },
		"normalizer":          func() bool { return d.pages(t) > pages+6 },
		"productiv-publisher": func() bool { return d.writes(t) > writes },
		"deprovisioner":       func() bool { d.approve(t); return len(d.applied(t)) > applied },
	}
	for _, service := range services {
		await(t, service+" at work", func() error {
			if !middles[service]() {
				return errors.New("not yet")
			}
			return nil
		})
		strike(service)
	}
	d.latency(t, 0)
	struck := time.Now()
	await(t, "every request settled", func() error { d.approve(t); return d.allSettled(t) })
	settled := time.Now()
	d.seatwire(t, "sync", plan)
	await(t, "equal lists", func() error { return d.agree(t) })
	t.Logf("work %s, settled %s and equal lists %s after the last strike", struck.Sub(began).Round(time.Second),
		settled.Sub(struck).Round(time.Second), time.Since(struck).Round(time.Second))
}

// peopleChange has some people leave, join and rename themselves, and returns the addresses of others who will leave.
func (d *deployment) peopleChange(t *testing.T) (leavers []string) {
	t.Helper()
	_, people := d.licensed(t)
	if len(people) < 30 {
		t.Fatalf("only %d people are left", len(people))
	}
	for i, p := range people[:20] {
		switch i % 4 {
		case 0:
			d.order(t, "remove", p.PsUserID, nil)
		case 1:
			d.order(t, "edit", p.PsUserID, map[string]string{"email": "renamed-" + p.Email})
		case 2:
			d.order(t, "add", "", map[string]any{"email": "joined-" + p.Email, "firstName": "Joiner", "isOnAccount": true, "productIds": []string{"1"}})
		default:
			leavers = append(leavers, p.Email)
		}
	}
	return leavers
}

// approve is the person who looks at what waits.
func (d *deployment) approve(t *testing.T) {
	t.Helper()
	for _, b := range rows[struct{ BatchID, State string }](t, d, "deprovision", "list", "--batches") {
		if b.State == "held" {
			d.seatwire(t, "deprovision", "approve", b.BatchID, "--by", "test")
		}
	}
}

type request struct{ RequestSource, RequestID, State, Outcome string }

func (d *deployment) allSettled(t *testing.T) error {
	t.Helper()
	for _, r := range rows[request](t, d, "deprovision", "list") {
		if r.State != "settled" {
			return fmt.Errorf("%s is %s", r.RequestID, r.State)
		}
	}
	return nil
}

// judge compares what both vendors and the outcome events say.
func (d *deployment) judge(t *testing.T) {
	t.Helper()
	if err := errors.Join(d.agree(t), d.allSettled(t)); err != nil {
		t.Error(err)
	}
	d.nothingTwice(t)
	told := map[string]int{}
	if said := d.inside(t); json.Unmarshal([]byte(said), &told) != nil {
		t.Fatalf("no outcomes: %s", said)
	}
	requests := rows[request](t, d, "deprovision", "list")
	for _, r := range requests {
		if n := told[r.RequestSource+" "+r.RequestID]; n != 1 {
			t.Errorf("request %s has %d outcome events", r.RequestID, n)
		}
		if r.Outcome != "removed" && r.Outcome != "rejected" {
			t.Errorf("request %s: %s", r.RequestID, r.Outcome)
		}
	}
	if len(told) != len(requests) || len(requests) == 0 {
		t.Errorf("%d requests, outcomes for %d", len(requests), len(told))
	}
}

func (d *deployment) scaled(t *testing.T) {
	d.must(t, d.composed("up", "--detach", "--no-deps", "--scale", "normalizer=4", "normalizer")...)
	for replica := 1; replica <= 4; replica++ {
		d.ready(t, "normalizer", replica)
	}
}

// encrypted looks through a node's disk for what is known to have been stored there.
func (d *deployment) encrypted(t *testing.T) {
	_, people := d.licensed(t)
	canaries := []string{people[0].PsUserID, strings.ToLower(people[0].Email), "seatwire.deprovision.requested.v1", "provisionedUsers"}
	streams, size := map[string]bool{}, 0
	err := eachFile(d.container(t, "nats-2", 1), func(name string, content []byte) {
		size += len(content)
		if i := slices.Index(strings.Split(name, "/"), "streams"); i >= 0 {
			streams[strings.Split(name, "/")[i+1]] = true
		}
		for _, c := range canaries {
			if strings.Contains(string(content), c) {
				t.Errorf("%s can be read in %s", c, name)
			}
		}
	})
	if err != nil || !streams["SEATWIRE_LEDGER"] || !streams["SEATWIRE_PLANS"] || size < 1<<20 {
		t.Errorf("looked at %d bytes of %v: %v", size, streams, err)
	}
}

// eachFile reads a container's /data, which needs no shell in it.
func eachFile(container string, visit func(name string, content []byte)) error {
	cmd := exec.Command("docker", "cp", container+":/data", "-")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	files := tar.NewReader(out)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return cmd.Wait()
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		visit(header.Name, content)
	}
}
