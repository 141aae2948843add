/*
 * fdbbatch.c: how fast the kernel takes remote endpoints from a program that does nothing else. It encodes all messages
 * first, in batches of 256 of which the last asks for an acknowledgement, then sends them, and prints the seconds that
 * sending took.
 *
 *   fdbbatch COUNT set|del VXLAN-DEVICE TUNNEL-ADDRESS
 *
 * The i-th endpoint is 02:10:<i>. One message puts it into the forwarding table of the vxlan device and into that of its
 * bridge, or takes it out of both. benchmark: endpoint/linux/bench_test.go.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, ROOM = 80 };

static void die(const char *what)
{
	fprintf(stderr, "fdbbatch: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *put(char *at, unsigned short type, const void *value, size_t length)
{
	struct rtattr *a = (struct rtattr *)at;
	memset(at, 0, RTA_SPACE(length));
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(length);
	memcpy(RTA_DATA(a), value, length);
	return at + RTA_SPACE(length);
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: fdbbatch COUNT set|del VXLAN-DEVICE TUNNEL-ADDRESS\n");
		return 2;
	}
	size_t count = strtoul(argv[1], NULL, 10), batches = (count + BATCH - 1) / BATCH;
	int del = strcmp(argv[2], "del") == 0;
	unsigned index = if_nametoindex(argv[3]);
	if (index == 0)
		die(argv[3]);
	unsigned char tep[16];
	size_t length = strchr(argv[4], ':') == NULL ? 4 : 16;
	if (inet_pton(length == 4 ? AF_INET : AF_INET6, argv[4], tep) != 1)
		die(argv[4]);

	char *all = malloc(count * ROOM), *at = all;
	char **start = malloc((batches + 1) * sizeof *start);
	if (all == NULL || start == NULL)
		die("malloc");
	for (size_t i = 0; i < count; i++) {
		if (i % BATCH == 0)
			start[i / BATCH] = at;
		struct nlmsghdr *m = (struct nlmsghdr *)at;
		struct ndmsg *n = NLMSG_DATA(m);
		memset(at, 0, NLMSG_SPACE(sizeof *n));
		m->nlmsg_type = del ? RTM_DELNEIGH : RTM_NEWNEIGH;
		m->nlmsg_flags = NLM_F_REQUEST | (del ? 0 : NLM_F_CREATE | NLM_F_REPLACE);
		if (i % BATCH == BATCH - 1 || i == count - 1)
			m->nlmsg_flags |= NLM_F_ACK;
		m->nlmsg_seq = i + 1;
		n->ndm_family = AF_BRIDGE;
		n->ndm_ifindex = index;
		n->ndm_state = del ? 0 : NUD_REACHABLE;
		n->ndm_flags = NTF_SELF | NTF_MASTER | (del ? 0 : NTF_EXT_LEARNED);
		unsigned char mac[6] = {0x02, 0x10, i >> 24, i >> 16, i >> 8, i};
		char *p = put(at + NLMSG_SPACE(sizeof *n), NDA_LLADDR, mac, sizeof mac);
		if (!del)
			p = put(p, NDA_DST, tep, length);
		m->nlmsg_len = p - at;
		at = p;
	}
	start[batches] = at;

	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), size = 8 << 20, one = 1;
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	struct timespec before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (size_t b = 0; b < batches; b++) {
		if (send(fd, start[b], start[b + 1] - start[b], 0) < 0)
			die("send");
		size_t last = (b + 1) * BATCH < count ? (b + 1) * BATCH : count;
		for (int done = 0; !done;) {
			char answers[65536];
			ssize_t n = recv(fd, answers, sizeof answers, 0);
			if (n < 0)
				die("recv");
			for (struct nlmsghdr *m = (struct nlmsghdr *)answers; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
				struct nlmsgerr *e = NLMSG_DATA(m);
				if (m->nlmsg_type != NLMSG_ERROR)
					continue;
				if (e->error != 0) {
					errno = -e->error;
					die("the kernel refuses an entry");
				}
				done = m->nlmsg_seq == last;
			}
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("%.9f\n", after.tv_sec - before.tv_sec + (after.tv_nsec - before.tv_nsec) / 1e9);
	return 0;
}
