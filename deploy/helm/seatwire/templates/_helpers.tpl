{{- define "seatwire.prefix" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Labels that a selector may use: dict root, component. */ -}}
{{- define "seatwire.selector" -}}
app.kubernetes.io/name: seatwire
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "seatwire.labels" -}}
{{ include "seatwire.selector" . }}
app.kubernetes.io/part-of: seatwire
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* An image: dict root, program. */ -}}
{{- define "seatwire.image" -}}
{{- $image := .root.Values.image }}
{{- printf "%s/%s" $image.registry .program }}
{{- with index $image.digests .program }}@{{ . }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* seatwire.yaml, the same for every program: each mounts its own seed, and only the secrets that it reads. */ -}}
{{- define "seatwire.config" -}}
{{- $nats := dict "url" .Values.nats.url "replicas" (int .Values.nats.replicas) "credentials" "/run/secrets/nats/seed" }}
{{- if .Values.nats.ca.name }}
{{- $_ := set $nats "tls" (dict "ca" "/run/secrets/nats/ca.pem") }}
{{- end }}
{{- $connections := list }}
{{- range .Values.connections }}
{{- $c := deepCopy . }}
{{- $_ := set $c.pluralsight "token" (dict "file" (printf "/run/secrets/vendors/%s/token" .name)) }}
{{- range $key := list "clientSecret" "accessToken" }}
{{- if hasKey ($c.productiv | default dict) $key }}
{{- $_ := set $c.productiv $key (dict "file" (printf "/run/secrets/vendors/%s/%s" $c.name $key)) }}
{{- end }}
{{- end }}
{{- $connections = append $connections $c }}
{{- end }}
{{- $all := dict "nats" $nats "connections" $connections }}
{{- range $section := list "limits" "retry" "deadLetters" }}
{{- with index $.Values $section }}
{{- $_ := set $all $section . }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /* Sources of the projected volume with the vendors' secrets that a service reads: dict root, service. */ -}}
{{- define "seatwire.vendorSecrets" -}}
{{- $sources := list }}
{{- range $c := .root.Values.connections }}
{{- $read := dict }}
{{- if has $.service (list "fetcher" "deprovisioner") }}
{{- $read = pick $c.pluralsight "token" }}
{{- else if eq $.service "productiv-publisher" }}
{{- $read = pick ($c.productiv | default dict) "clientSecret" "accessToken" }}
{{- end }}
{{- range $what, $at := $read }}
{{- $item := dict "key" $at.key "path" (printf "%s/%s" $c.name $what) }}
{{- $sources = append $sources (dict "secret" (dict "name" $at.name "items" (list $item))) }}
{{- end }}
{{- end }}
{{- with $sources }}{{ toYaml . }}{{ end }}
{{- end }}

{{- /* What every pod has: dict root, program, config (a ConfigMap). The caller adds containers. */ -}}
{{- define "seatwire.pod" -}}
{{- $v := .root.Values -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ quote . }}
  {{- end }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ quote . }}
{{- end }}
volumes:
  - name: config
    configMap: {name: {{ .config }}}
  - name: nats
    projected:
      defaultMode: 0440
      sources:
        {{- $seed := index $v.nats.seeds .program }}
        - secret: {name: {{ quote $seed.name }}, items: [{key: {{ quote $seed.key }}, path: seed}]}
        {{- with $v.nats.ca }}
        {{- if .name }}
        - secret: {name: {{ quote .name }}, items: [{key: {{ quote .key }}, path: ca.pem}]}
        {{- end }}
        {{- end }}
{{- end }}

{{- /* What every container has. */ -}}
{{- define "seatwire.container" -}}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{- define "seatwire.mounts" -}}
- {name: config, mountPath: /etc/seatwire, readOnly: true}
- {name: nats, mountPath: /run/secrets/nats, readOnly: true}
{{- end }}

{{- define "seatwire.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* Out to the broker, by name. */ -}}
{{- define "seatwire.brokerEgress" -}}
- to: {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- to: {{- toYaml .Values.networkPolicy.nats | nindent 4 }}
  ports: [{port: {{ .Values.networkPolicy.natsPort }}, protocol: TCP}]
{{- end }}
