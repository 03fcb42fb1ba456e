"""Cross-entropy and its gradient with a vocabulary that no process holds as a whole.

    python examples/sharded_vocabulary.py

Four processes each hold a quarter of the output layer of a language model of 64,000 words. For a
batch of hidden states each computes the logits of its own words and sends two small things: the
mergeable state of every row, 32 bytes, and the logits of those targets that are its own. The states
are merged, and each process turns its logits into its part of the gradient. No array of all logits
exists anywhere; here one is made in the end, to compare.

In place of the pipes below, mpi4py's allreduce or torch.distributed's all_gather_object carry the
states from machine to machine: docs/interoperability.md shows both.
"""

import multiprocessing
import time
from functools import reduce

import numpy as np

import fastsoftmax
from fastsoftmax import OnlineSoftmax, testing

PROCESSES, WORDS, WIDTH, BATCH = 4, 64_000, 128, 256
SHARD = WORDS // PROCESSES


def output_layer(k):
    """The weights of shard k, as if they had been loaded: the same in every process that asks."""
    return np.random.default_rng(k).standard_normal((SHARD, WIDTH), np.float32) / 3


def own_targets(k, targets):
    """Rows whose target lies in shard k, and where in it."""
    rows = np.flatnonzero(targets // SHARD == k)
    return rows, targets[rows] - k * SHARD


def worker(k, pipe):
    weights = output_layer(k)
    while True:
        message = pipe.recv()
        if message is None:
            return
        hidden, targets = message
        logits = hidden @ weights.T
        rows, at = own_targets(k, targets)
        state = OnlineSoftmax().update(logits, threads=1)
        pipe.send((state, rows, logits[rows, at]))
        everyone = pipe.recv()
        grad = everyone.softmax(logits, out=logits, threads=1)
        grad[rows, at] -= 1
        grad /= len(targets)
        # To train, a shard would keep its weights' gradient; here it goes up to be compared.
        pipe.send((grad.T @ hidden, grad @ weights))


def step(pipes, hidden, targets):
    """The losses of the samples, the gradient of each shard, and that of the hidden states."""
    for pipe in pipes:
        pipe.send((hidden, targets))
    states, target_logits = [], np.empty(len(targets), np.float32)
    for pipe in pipes:
        state, rows, logits = pipe.recv()
        states.append(state)
        target_logits[rows] = logits
    everyone = reduce(OnlineSoftmax.merge, states)
    for pipe in pipes:
        pipe.send(everyone)
    grads = [pipe.recv() for pipe in pipes]
    return everyone.cross_entropy(target_logits), [g for g, _ in grads], sum(h for _, h in grads)


def main():
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for k in range(PROCESSES):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=worker, args=(k, theirs), daemon=True))
        processes[-1].start()
        pipes.append(ours)
    rng = np.random.default_rng(9)
    hidden = rng.standard_normal((BATCH, WIDTH), np.float32)
    targets = rng.integers(0, WORDS, BATCH)

    step(pipes, hidden, targets)  # the processes have started
    start = time.perf_counter()
    losses, grads, of_hidden = step(pipes, hidden, targets)
    seconds = time.perf_counter() - start
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()

    weights = np.concatenate([output_layer(k) for k in range(PROCESSES)])
    logits = np.concatenate([hidden @ output_layer(k).T for k in range(PROCESSES)], axis=1)
    worst = testing.ulp_error(losses, testing.cross_entropy(logits, targets)).max()
    loss, grad = fastsoftmax.cross_entropy_with_grad(logits, targets)
    apart = np.abs(np.concatenate(grads) - grad.T @ hidden).max() / np.abs(grad.T @ hidden).max()
    below = np.abs(of_hidden - grad @ weights).max() / np.abs(grad @ weights).max()
    print(f"{PROCESSES} processes            {WORDS:,} words, {seconds * 1e3:.0f} ms a step")
    print(f"mean loss              {losses.mean():.6f}, in one process {loss:.6f}")
    print(f"losses                 off by {worst:.2f} ULP at most")
    print(f"gradients              off by {max(apart, below):.1e} of the largest, of one process")
    assert worst <= 2, "a loss is off by more than its bound"
    assert max(apart, below) < 1e-5, "the gradients differ"


if __name__ == "__main__":
    main()
