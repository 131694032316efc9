# From when a node takes a Pod until its containers run; from there until it is Ready; from its deletion until it is
# gone: by kubelet's rules (Kubernetes 1.37, pkg/kubelet), worked out from the Pod's own containers, probes and hooks.
# Input: a Pod. Before this stand the definitions `times` (container -> seconds), `node` (seconds), `seed` and `spread`.
# All that is reckoned with is milliseconds from when the node took the Pod.

# The same in every run with one seed: without the random end of its name, and without the hash of its template, which
# another chart value changes.
def workload: (.metadata.labels["pod-template-hash"] // "") as $hash
  | .metadata | "\(.namespace)/\((.generateName // .name) | rtrimstr("-") | rtrimstr($hash) | rtrimstr("-"))";

# By what all of a Pod's own times are longer or shorter.
def pace: reduce ("\(seed)/\(workload)/" | explode[]) as $letter (1; (. * 48271 + $letter) % 2147483647)
  | sin * 10000 | . - floor | 1 - spread + 2 * spread * .;

def takes($name; $pace): (times[$name] // times["*"]) | map_values(. * $pace * 1000 | round);
def noticed: . + node.notices * 1000;
def period($probe): ($probe.periodSeconds // 10) * 1000;

# When a probe is answered with success: not before its delay, and not before the container is up.
def answers($probe; $pace): .start + ([takes(.container.name; $pace).up, ($probe.initialDelaySeconds // 0) * 1000] | max);

# When kubelet knows that a container has started: when it sees it run, or when its startup probe has passed, which is
# asked every period from when the node took the Pod (prober/worker.go, `run`).
def started($pace): .container.startupProbe as $probe
  | if $probe == null then .start | noticed
    else answers($probe; $pace) | . / period($probe) | ceil * period($probe) end;

# Init containers run one after the other; a sidecar lets the next one start when it has started itself.
def after_init($pace): reduce .spec.initContainers[]? as $container (
  {at: (node.sandbox * $pace * 1000 | round), sidecars: []};
  takes($container.name; $pace) as $takes
  | {container: $container, start: (.at + $takes.creates)} as $one
  | if $container.restartPolicy == "Always" then .sidecars += [$one] | .at = ($one | started($pace))
    else .at = ($one.start + $takes.up | noticed) end);

# The others start together, when the slowest has been created.
def begin($pace): after_init($pace).at + ([.spec.containers[] | takes(.name; $pace).creates] | max);

# A container that waits to be ready: from which time on it would be, and when it is asked next. One without a probe is
# ready when it has started.
def waiting($pace): started($pace) as $started | .container.readinessProbe as $probe
  | {$started, next: $started, period: period($probe), ready: (if $probe then answers($probe; $pace) else $started end)};

# Whenever kubelet looks at a Pod, since a container has started or has become ready, it asks all that are not ready at
# once, and from then on every period (prober/prober_manager.go, `UpdatePodStatus`; prober/worker.go, `run`).
def last_ready($now; $looks):
  ([.[].next, ($looks[] | select(. > $now))] | min) as $now
  | if ($looks | index($now)) or any(.[]; .next == $now and .ready <= $now)
    then map(select(.started > $now or .ready > $now) | if .started <= $now then .next = $now + .period else . end)
    else map(if .next == $now then .next += .period else . end) end
  | if . == [] then $now else last_ready($now; $looks) end;

def ready($pace): begin($pace) as $start
  | [after_init($pace).sidecars[], (.spec.containers[] | {container: ., $start}) | waiting($pace)]
  | last_ready(-1; map(.started));

# Seconds of a hook that waits: `sleep 5`, or Kong's `kong quit --wait=15`, which goes on serving for so long.
def hook: .lifecycle.preStop | .sleep.seconds
  // ([(.exec.command // []) | join(" ") | capture("(--wait=|sleep )(?<seconds>[0-9]+)").seconds | tonumber] | add) // 0;

# Sidecars end after the others, the last one first; their own hooks have run by then
# (kuberuntime/kuberuntime_termination_order.go). What takes longer than the grace period is killed.
def gone($pace): if .status.phase != "Running" then 100 else
  ([.spec.containers[] | hook * 1000 + takes(.name; $pace).ends] | max) as $others
  | ([.spec.initContainers[]? | select(.restartPolicy == "Always") | takes(.name; $pace).ends] | add // 0) as $sidecars
  | [($others + $sidecars | noticed), .metadata.deletionGracePeriodSeconds * 1000] | min end;

def duration: "\(.)ms";
def until_running: begin(pace) | duration;
def until_ready: pace as $pace | ready($pace) - begin($pace) | duration;
def until_gone: gone(pace) | duration;
