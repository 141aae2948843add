/*
 * stream.c: a stream of packets whose losses can be told to a tenth of a millisecond.
 *
 *   stream send SOURCE RATE ADDRESS...     sends RATE packets a second, from SOURCE, to each address in turn, until killed
 *   stream recv FILE                       writes a line for each packet: address number, packet number, nanoseconds when it was sent
 *
 * The clock is CLOCK_MONOTONIC, which is the same in all network namespaces. Used by failover.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 9999, MOST = 64 };

struct packet {
	uint64_t address; /* its number */
	uint64_t number;  /* of the packet, among those to this address */
	uint64_t sent;
};

static volatile sig_atomic_t stop;

static void end(int signal)
{
	(void)signal;
	stop = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in6 address(const char *text, int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	if (inet_pton(AF_INET6, text, &a.sin6_addr) != 1)
		die(text);
	return a;
}

static void send_all(int fd, char **argv, int count)
{
	struct sockaddr_in6 from = address(argv[0], 0), to[MOST];
	int size = 16 << 20; /* what waits for a dead neighbour's address is not to keep the rest from going */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	uint64_t step = 1000000000u / strtoull(argv[1], NULL, 10), next = now();
	if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
		die("bind");
	for (int i = 0; i < count; i++)
		to[i] = address(argv[2 + i], PORT);
	for (uint64_t n = 0; !stop; n++) {
		struct packet p = {.address = n % count, .number = n / count, .sent = now()};
		sendto(fd, &p, sizeof p, MSG_DONTWAIT, (struct sockaddr *)&to[n % count], sizeof to[0]); /* no route: a lost packet */
		next += step;
		struct timespec until = {.tv_sec = next / 1000000000u, .tv_nsec = next % 1000000000u};
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR && !stop)
			;
	}
}

static void receive(int fd, const char *name)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	struct timeval wait = {.tv_usec = 100000};
	int size = 16 << 20;
	FILE *file = fopen(name, "w");
	if (file == NULL)
		die(name);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
		die("bind");
	struct packet p;
	while (!stop) /* when killed, first what has come */
		while (recv(fd, &p, sizeof p, 0) == sizeof p)
			fprintf(file, "%llu %llu %llu\n", (unsigned long long)p.address, (unsigned long long)p.number, (unsigned long long)p.sent);
	fclose(file);
}

int main(int argc, char **argv)
{
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	struct sigaction action = {.sa_handler = end};
	if (fd < 0)
		die("socket");
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (argc >= 5 && argc - 4 <= MOST && strcmp(argv[1], "send") == 0)
		send_all(fd, argv + 2, argc - 4);
	else if (argc == 3 && strcmp(argv[1], "recv") == 0)
		receive(fd, argv[2]);
	else {
		fprintf(stderr, "usage: stream send SOURCE RATE ADDRESS... | recv FILE\n");
		return 2;
	}
	return 0;
}
