# Seconds from when a node takes a Pod until its containers run, until it is Ready, and from its deletion until it is
# gone: kubelet's rules, worked out from the Pod's own containers, probes and hooks. Input: a Pod. Before this stand the
# definitions `times` (container -> seconds), `node` (seconds), `seed` and `spread`.

# The same in every run with one seed: without the random end of its name, and without the hash of its template, which
# another chart value changes.
def workload: (.metadata.labels["pod-template-hash"] // "") as $hash
  | .metadata | "\(.namespace)/\((.generateName // .name) | rtrimstr("-") | rtrimstr($hash) | rtrimstr("-"))";

def pace: reduce ("\(seed)/\(workload)/" | explode[]) as $letter (1; (. * 48271 + $letter) % 2147483647)
  | sin * 10000 | . - floor | 1 - spread + 2 * spread * .;

def seconds($name; $pace): (times[$name] // times["*"]) | map_values(. * $pace);

def milliseconds: . * 1000 | round;

# The first tick of a probe: they come every period from when the node took the Pod, not from its container's start
# (pkg/kubelet/prober/worker.go, `run`; prober_manager.go, `AddPod`). Not before its delay after that start, and in vain
# before the container is up.
def wanted($probe; $pace): .start + ([seconds(.container.name; $pace).up, $probe.initialDelaySeconds // 0] | max)
  | milliseconds / 1000;
def tick($probe): ($probe.periodSeconds // 10) as $period | (. / $period | ceil) * $period;

# When kubelet knows that a container has started: one with a startup probe, when that has passed.
def started($pace): .container.startupProbe as $probe
  | if $probe then wanted($probe; $pace) | tick($probe) else .start + node.notices end;

# Init containers one after the other; a sidecar lets the next one start when it has started itself.
def after_init($pace): reduce .spec.initContainers[]? as $container (
  {at: (node.sandbox * $pace), sidecars: []};
  seconds($container.name; $pace) as $takes
  | {container: $container, start: (.at + $takes.creates)} as $one
  | if $container.restartPolicy == "Always" then .sidecars += [$one] | .at = ($one | started($pace))
    else .at = $one.start + $takes.up + node.notices end);

# The others start together, when the slowest has been created.
def begin($pace): after_init($pace).at + ([.spec.containers[] | seconds(.name; $pace).creates] | max);

def asked($pace): started($pace) as $started | .container.readinessProbe as $probe
  | if $probe == null then {wanted: $started, tick: $started}
    else wanted($probe; $pace) | {wanted: ., tick: (if . <= $started then $started else tick($probe) end)} end;

# Whenever a container has become ready, the others are asked too (prober_manager.go, `UpdatePodStatus`).
def last_ready: (map(.tick) | min) as $now | map(select(.wanted > $now)) | if . == [] then $now else last_ready end;

def ready($pace): begin($pace) as $start
  | [after_init($pace).sidecars[], (.spec.containers[] | {container: ., start: $start}) | asked($pace)] | last_ready;

# `sleep 5`, or Kong's `kong quit --wait=15`, which goes on serving for so long.
def hook: .lifecycle.preStop | .sleep.seconds
  // ([(.exec.command // []) | join(" ") | capture("(--wait=|sleep )(?<seconds>[0-9]+)").seconds | tonumber] | add) // 0;

# Sidecars end after the others; what takes longer than the grace period is killed.
def gone($pace): (.metadata.deletionGracePeriodSeconds // 0) as $grace | if .status.phase != "Running" then 0.1 else
    ([.spec.containers[] | hook + seconds(.name; $pace).ends] | max)
    + ([.spec.initContainers[]? | select(.restartPolicy == "Always") | seconds(.name; $pace).ends] | add // 0)
    + node.notices
    | if . > $grace then $grace else . end
  end;

def duration: "\(milliseconds)ms";
def until_running: pace as $pace | begin($pace) | duration;
def until_ready: pace as $pace | ready($pace) - begin($pace) | duration;
def until_gone: pace as $pace | gone($pace) | duration;
