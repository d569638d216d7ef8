#!/bin/sh
# Makes one table with everything that ipvsadm knows, and prints how `ipvsadm -S -n` and `ipvsadm -Ln` show it.
# linux-6.1.* and linux-7.2.* are its output with ipvsadm 1.31 (Debian 1:1.31-1+b1) on Debian's 6.1.0-56-amd64 and
# on Linux 7.2.13; what a kernel refuses (twos on 6.1, --pe sip without its module) is missing there. The .json
# files are the same tables as snapshots, with the thresholds that `ipvsadm -S` leaves out.
modprobe ip_vs 2>/dev/null; ipvsadm -Ln >/dev/null
t() { ipvsadm "$@" 2>/dev/null; }
v4='-t 10.0.0.1:80'
t -A $v4 -s rr
t -a $v4 -r 10.1.0.1:8080 -m
t -a $v4 -r 10.1.0.2:80 -g -w 0
t -a $v4 -r 10.1.0.3:80 -i -w 65535
t -a $v4 -r 10.1.0.5:80 -i --tun-type gue --tun-port 6080 --tun-nocsum
t -a $v4 -r 10.1.0.6:80 -i --tun-type gue --tun-port 6080 --tun-csum
t -a $v4 -r 10.1.0.7:80 -i --tun-type gue --tun-port 6080 --tun-remcsum
t -a $v4 -r 10.1.0.8:80 -i --tun-type gre
t -a $v4 -r 10.1.0.9:80 -i --tun-type gre --tun-csum
t -a $v4 -r 10.1.0.11:80 -m -x 100 -y 50
t -a $v4 -r 127.0.0.1:80 -g
t -a $v4 -r '[fd00:1::2]:80' -i
t -A -t 10.0.0.9:80 -s rr
t -A -t 10.0.0.10:443 -s rr
t -A -t 10.0.0.10:53 -s rr
t -A -u 10.0.0.10:53 -s rr -p
t -A --sctp-service 10.0.0.10:53 -s rr
t -A -u 10.0.0.1:81 -s wrr -p 100 -M 255.255.255.0
t -A -u 10.0.0.1:82 -s wrr -p 100 -M 255.255.255.255
t -A -u 10.0.0.1:84 -s wrr -o
t -A -u 10.0.0.1:85 -s wrr -o -p 5 -b flag-3,flag-1
t -A -u 10.0.0.1:5060 -s rr -p 60 --pe sip
t -A -u 10.0.0.1:5061 -s rr -p 60 --pe sip -o -M 255.0.0.0 -b flag-1
t -A --sctp-service 10.0.0.1:80 -s sh
t -A -t 10.0.0.1:0 -s rr -p 60
t -a -t 10.0.0.1:0 -r 10.1.0.1:0 -g
t -A -t 0.0.0.0:99 -s none
i=2
for s in rr wrr lc wlc fo ovf lblc lblcr dh sh mh sed nq twos; do t -A -t 10.0.1.$i:80 -s $s; i=$((i+1)); done
for s in wlc sh mh; do
 for b in flag-1 flag-2 flag-3 flag-1,flag-2 flag-1,flag-3 flag-2,flag-3 flag-1,flag-2,flag-3; do
  t -A -t 10.0.2.$i:80 -s $s -b $b; i=$((i+1))
 done
done
v6='-t [fd00::1]:80'
t -A $v6 -s rr
t -a $v6 -r '[fd01::1]:8080' -m
t -a $v6 -r '[fd01::2]:80' -i -w 3
t -a $v6 -r '[2001:db8:1111:2222:3333:4444:5555:6666]:8080' -m
t -a $v6 -r '[::1.2.3.4]:8080' -m
t -a $v6 -r '[fd01:0:0:1::]:8080' -m
t -a $v6 -r '[fd01:0:1:1:1:1:1:1]:8080' -m
t -a $v6 -r '[::1]:80' -m
t -a $v6 -r 10.9.9.9:80 -i
t -A -u '[fd00::1]:80' -s rr -p 77
t -A -u '[fd00::1]:81' -s rr -p 77 -M 64
t -A -u '[fd00::1]:83' -s rr -o
t -A --sctp-service '[fd00::1]:80' -s rr
t -A -t '[2001:db8:1111:2222:3333:4444:5555:6666]:65535' -s wlc -p 60
t -A -t '[::]:80' -s wlc
t -A -t '[::1:0]:80' -s wlc
t -A -t '[::ffff:1.2.3.4]:80' -s wlc
t -A -f 1 -s rr
t -a -f 1 -r 10.1.0.1:0 -g
t -a -f 1 -r 10.1.0.2:80 -m
t -A -f 1 -6 -s rr
t -a -f 1 -6 -r '[fd01::1]:80' -m
t -A -f 2 -s rr -p 30 -M 255.255.255.0
t -A -f 3 -6 -s rr -p 30 -M 64
t -A -f 4 -6 -s sh -b sh-port -o
t -A -f 4294967295 -s rr
t -A -f 3000000000 -s rr
echo @@SAVE; ipvsadm -S -n; echo @@LIST; ipvsadm -Ln; echo @@END
