package composetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	root = "../../.."
	// patience bounds every wait. It is for machines that do other things too; an idle one needs a tenth.
	patience  = 3 * time.Minute
	lookEvery = 200 * time.Millisecond
)

// deployment is one project of docker-compose.yml, with secrets, volumes and networks of its own.
type deployment struct {
	project, secrets string
	compose          []string // docker compose, or the older docker-compose
	env              []string
	vendors
}

// deploy brings everything up, and takes everything down with the test.
func deploy(t *testing.T) *deployment {
	d := &deployment{project: fmt.Sprintf("seatwire-test-%d", os.Getpid()), secrets: t.TempDir(), compose: []string{"docker-compose"}}
	if exec.Command("docker", "compose", "version").Run() == nil {
		d.compose = []string{"docker", "compose"}
	}
	d.env = append(os.Environ(), "SEATWIRE_SECRETS="+d.secrets, "SEATWIRE_DEMO_PEOPLE=2000", "SEATWIRE_PLURALSIGHT_PORT=0", "SEATWIRE_PRODUCTIV_PORT=0")
	d.must(t, "deploy/compose/prepare.sh")
	t.Cleanup(func() {
		if t.Failed() {
			log := filepath.Join(os.TempDir(), d.project+".log")
			t.Logf("the containers' logs are in %s: %v", log, os.WriteFile(log, []byte(d.logs()), 0o600))
		}
		d.down(t)
	})
	d.must(t, d.composed("up", "--detach")...)
	demo := d.container(t, "demo", 1)
	d.pluralsight = "http://" + d.must(t, "docker", "port", demo, "8081/tcp")
	d.productiv = "http://" + d.must(t, "docker", "port", demo, "8082/tcp")
	return d
}

// down leaves no container and no volume. An engine whose own books hold an endpoint of a container that is gone (20.10
// does at times) refuses to remove the network until it is restarted, which is nobody's failure here: it is said. An
// older compose goes no further than that network, so the volumes are removed without it.
func (d *deployment) down(t *testing.T) {
	var left error
	await(t, "containers and volumes are gone", func() error {
		if _, left = d.run(d.composed("down", "--volumes", "--remove-orphans", "--timeout", "1")...); left != nil {
			volumes, _ := d.own("volume", "ls")
			_, _ = d.run(append([]string{"docker", "volume", "rm"}, strings.Fields(volumes)...)...) // what stays is seen below
		}
		for _, list := range [][]string{{"ps", "--all"}, {"volume", "ls"}} {
			there, err := d.own(list...)
			if err == nil && there != "" {
				err = fmt.Errorf("docker %v: %s", list, there)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if left != nil {
		t.Logf("the engine kept a network of %s: %v", d.project, left)
	}
}

// own are the ids of what a list command of docker's names of this project.
func (d *deployment) own(list ...string) (string, error) {
	return d.run(slices.Concat([]string{"docker"}, list, []string{"--quiet", "--filter", "label=com.docker.compose.project=" + d.project})...)
}

func (d *deployment) composed(args ...string) []string {
	return slices.Concat(d.compose, []string{"--project-name", d.project, "--profile", "demo"}, args)
}

// run runs a command in the repository and returns what it printed.
func (d *deployment) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = root, d.env, &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String()), nil
}

func (d *deployment) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// container is the id of a replica, which are counted from 1.
func (d *deployment) container(t *testing.T, service string, replica int) string {
	t.Helper()
	ids := d.must(t, "docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+d.project,
		"--filter", "label=com.docker.compose.service="+service, "--filter", fmt.Sprintf("label=com.docker.compose.container-number=%d", replica))
	if ids == "" || strings.Contains(ids, "\n") {
		t.Fatalf("%s %d is not one container: %q", service, replica, ids)
	}
	return ids
}

// seatwire runs a command of the operator's until it succeeds: with a node just gone the first try may not.
func (d *deployment) seatwire(t *testing.T, args ...string) string {
	t.Helper()
	command := append([]string{"docker", "exec", d.container(t, "demo", 1), "/program"}, args...)
	var out string
	await(t, "seatwire "+strings.Join(args, " "), func() (err error) {
		out, err = d.run(command...)
		return err
	})
	return out
}

// rows runs a list command.
func rows[T any](t *testing.T, d *deployment, args ...string) (rows []T) {
	t.Helper()
	if err := json.Unmarshal([]byte(d.seatwire(t, append(args, "-o", "json")...)), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// healthy waits until every container that has a health check passes it.
func (d *deployment) healthy(t *testing.T) {
	t.Helper()
	await(t, "all healthy", func() error {
		states := d.must(t, "docker", "ps", "--all", "--filter", "label=com.docker.compose.project="+d.project, "--format", "{{.Names}} {{.Status}}")
		for line := range strings.Lines(states) {
			ended := strings.Contains(line, "provision") && strings.Contains(line, "Exited (0)")
			if !ended && !strings.Contains(line, "(healthy)") && !strings.Contains(line, "demo") {
				return fmt.Errorf("%s", line)
			}
		}
		return nil
	})
}

// ready waits until a replica answers its own probe, which is sooner known than its health.
func (d *deployment) ready(t *testing.T, service string, replica int) {
	t.Helper()
	await(t, service+" ready", func() error {
		_, err := d.run("docker", "exec", d.container(t, service, replica), "/probe", "http://127.0.0.1:8080/readyz")
		return err
	})
}

func (d *deployment) logs() string {
	out, err := d.run(d.composed("logs", "--no-color", "--timestamps")...)
	return fmt.Sprint(out, err)
}

// await looks again and again until there is no error.
func await(t *testing.T, what string, look func() error) {
	t.Helper()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-late:
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-tick.C:
		}
	}
}

// inside runs this test binary in a container of its own on the NATS network, as the operator's user.
func (d *deployment) inside(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mount := func(from, to string) string { return from + ":" + to + ":ro" }
	return d.must(t, "docker", "run", "--rm", "--network", d.project+"_nats", "--read-only", "--entrypoint", "/outcomes",
		"--volume", mount(self, "/outcomes"), "--volume", mount(filepath.Join(d.secrets, "users/seatwire.nk"), "/run/secrets/nats"),
		"--volume", mount(filepath.Join(d.secrets, "tls/ca.pem"), "/run/secrets/nats-ca"), "seatwire/seatwire:local", "-outcomes")
}
