#!/usr/bin/env bash
# What scripts/demo shows, inside scripts/lab.
set -uo pipefail
export SVCPLANE_STATE_DIRECTORY=/run/svcplane # natively, /var/lib is the host's
export NODE_NAME=n0
# All that the demo asks with are processes of this machine, outside clients too: at their sockets they would be served
# before a packet is sent, and nothing be seen of IPVS.
export SVCPLANE_CONFIG=/run/svcplane.yaml
echo 'socketLoadBalancer: { mode: off }' >"$SVCPLANE_CONFIG"

# shellcheck source-path=SCRIPTDIR source=stage.sh
source "${BASH_SOURCE[0]%/*}/stage.sh"

title "A node with pods, and a table that is not ours"
scripts/demo-files/network.sh up || exit 1
cat <<'END'
  n0       the node: 172.30.0.30 on eth0, 10.244.1.1 on the bridge cni0; host-daemon listens on port 9100 of all addresses
  pods     web-1 to web-4, nginx-1, nginx-2, myapp-1, shop-1, shop-2 and api-1 answer HTTP with their names;
           client serves nothing and asks
  outside  a client 172.30.0.100, and outside-server on 172.30.0.200:8088, which is in no cluster
Each is a network namespace of this kernel, and n0 the only one with IPVS. Somebody has used it already:

END
show 'ipvsadm -A -t 192.0.2.9:443 -s wlc; ipvsadm -a -t 192.0.2.9:443 -r 192.0.2.10:443 -m -w 3; ipvsadm -Sn'
expect_output '^-A -t 192.0.2.9:443 -s wlc$' 'a foreign virtual server is there'

title 'The plan: what an apply would change, and why'
show 'scripts/svcplane plan -f examples/guide'
expect_code 2 'there are changes'
expect_output '^rejected: Service default/database: headless' 'case 7: the headless Service is said to be none of ours'
expect_output '^rejected: Service default/mail: type ExternalName' 'case 7: so is the ExternalName'
expect_no_output '192\.0\.2\.9' 'the foreign virtual server is not in it'

title 'Apply'
show 'scripts/svcplane apply -f examples/guide 2>/dev/null | tail -n 1'
show 'ipvsadm -Ln'
show 'ip -brief address show svcplane0'
expect_output '10\.10\.0\.5/32' 'the load balancer address is bound'
expect_no_output '172\.30\.0\.30' "the node's own address is not bound again"
show 'nft list set inet svcplane masquerade4'
expect_output '10\.10\.0\.5 \. tcp \. 80' 'connections to the load balancer address are masqueraded'

title 'Real answers'
echo 'Case 1, a ClusterIP with three pods, each in its turn:'
ask node http://10.96.0.10/ web-1 web-2 web-3
ask client http://10.96.0.10/ web-1 web-2 web-3
ask outside http://10.96.0.10/ web-1 web-2 web-3
echo 'Case 2, targetPort by number, and by a name that is 80 in one pod and 8081 in the other:'
ask client http://10.96.0.20/ myapp-1
ask client http://10.96.0.21/ nginx-1 nginx-2
echo 'Case 3, a NodePort:'
ask outside http://172.30.0.30:30080/ shop-1 shop-2
ask client http://172.30.0.30:30080/ shop-1 shop-2
echo "Case 4, an externalIP that is the node's own address:"
ask outside http://172.30.0.30/ shop-1 shop-2
echo 'Case 5, a LoadBalancer address:'
ask outside http://10.10.0.5/ shop-1 shop-2
ask node http://10.10.0.5/ shop-1 shop-2
echo 'Case 6, no selector, an Endpoints object that names a server outside:'
ask client http://10.96.0.60/ outside-server
ask node http://10.96.0.60/ outside-server
echo 'Case 8, affinity: each client stays with the pod it got first:'
ask_same outside http://10.96.0.80/
ask_same client http://10.96.0.80/
echo 'Case 9, the kubernetes Service, whose endpoint is the node itself:'
ask client http://10.96.0.1:443/ api-server
echo 'Case 10, a Service of namespace backend, asked by a pod of another:'
ask client http://10.96.0.100/ api-1

title 'Who the pods see'
echo 'A pod keeps its address towards a ClusterIP. A client outside is masqueraded, so that the answer comes back this way:'
ask_source client http://10.96.0.20 10.244.1.40
ask_source outside http://10.96.0.20 10.244.1.1
ask_source outside http://10.10.0.5 10.244.1.1
echo 'A pod that gets itself would answer past the Service: it is masqueraded, too:'
ask web-1 http://10.96.0.10/ web-1 web-2 web-3
ask_source myapp-1 http://10.96.0.20 10.244.1.1
echo 'The same of one connection, in advance:'
show 'scripts/svcplane explain --src 172.30.0.100 --dst 10.96.0.20 --port 80 -f examples/guide 2>/dev/null'
expect_output ' 10\.244\.1\.26:9376 .*masqueraded' 'myapp-1 it is, masqueraded'

title "What is no Service's is closed"
echo 'The host listens on port 9100 of all addresses, and those of Services are local:'
ask outside http://172.30.0.30:9100/ host-daemon
ask_refused outside http://10.10.0.5:9100/
ask_refused outside http://10.96.0.10:9100/
ask_refused client http://10.96.0.10:9100/
ask_refused node http://10.96.0.10:9100/

title 'The same again: nothing to do'
show 'scripts/svcplane apply -f examples/guide 2>/dev/null'
expect_code 0 'done'
expect_output '^Applied: 0 added, 0 changed, 0 deleted\.$' 'no change at all'

title 'One endpoint replaced: web-2 is gone, web-4 has come'
show 'cp -r examples/guide /run/manifests && cp examples/endpoint-replaced/*.yaml /run/manifests'
ask client http://10.96.0.10/ web-1 web-2 web-3
show 'scripts/svcplane plan -f /run/manifests 2>/dev/null'
expect_code 2 'there are changes'
expect_output '^Plan: 2 to add, 1 to change, 1 to delete\.$' 'these and no others'
expect_output '^\+ addRealServer TCP 10\.96\.0\.10:80 -> 10\.244\.1\.23:8080 ' 'web-4 is added'
expect_output '^~ drainRealServer TCP 10\.96\.0\.10:80 -> 10\.244\.1\.21:8080 ' 'web-2 gets no new connections'
show 'scripts/svcplane apply -f /run/manifests 2>/dev/null | tail -n 1'
ask client http://10.96.0.10/ web-1 web-3 web-4
echo 'Its last connections are closing. They hold it for three seconds, open ones for as long as they last:'
show 'sleep 3; scripts/svcplane apply -f /run/manifests 2>/dev/null'
expect_output '^- deleteRealServer TCP 10\.96\.0\.10:80 -> 10\.244\.1\.21:8080 ' 'web-2 is deleted'

title 'Source ranges, and a Service scaled to zero'
echo 'Only 172.30.0.100 may come to the load balancer address; api-1 of case 10 is gone:'
show 'cp examples/source-ranges/*.yaml examples/no-endpoints/*.yaml /run/manifests'
show 'scripts/svcplane apply -f /run/manifests 2>/dev/null'
expect_output '^\+ addElement nft allowed4 10\.10\.0\.5 .*172\.30\.0\.100' 'the range is an element of a set'
ask outside http://10.10.0.5/ shop-1 shop-2
ask_in_vain outside@172.30.0.200 http://10.10.0.5/
ask outside@172.30.0.200 http://172.30.0.30/ shop-1 shop-2
ask_refused client http://10.96.0.100/
ask_refused outside http://10.96.0.100/

title 'Clean-up: all that is ours goes, and nothing else'
show 'scripts/svcplane cleanup | tail -n 1'
show 'ipvsadm -Sn; ip -brief -4 address; ip link show svcplane0; nft list tables; sysctl net.ipv4.ip_forward'
expect_output '^-a -t 192\.0\.2\.9:443 -r 192\.0\.2\.10:443 -m -w 3$' 'the foreign virtual server is untouched'
expect_no_output '10\.96\.|10\.10\.' 'none of our virtual servers and addresses is left'
expect_output '"svcplane0" does not exist' 'nor our link'
expect_no_output '^table ' 'nor our nftables table'
expect_output '^net\.ipv4\.ip_forward = 0$' 'forwarding is off again, as before'

printf '\n'
if ((failures > 0)); then
  printf '%s%d of %d checks failed%s\n' "$bad" "$failures" "$checks" "$plain"
  exit 1
fi
printf '%sAll %d checks passed.%s\n' "$good" "$checks" "$plain"
