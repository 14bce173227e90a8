#!/bin/bash
# A cohort as a SLURM job array: every task runs its share of the cases, all write into one folder.
#
#   sbatch --array=1-16 array.sh MODEL MANIFEST OUT
#
# --array=1-16 is 16 shares; %4 behind it runs at most four at a time. A task that is killed or requeued goes on where it was; the
# same command again runs what failed. Memory: the largest figure of `ampoule plan MODEL MANIFEST`, rounded up.
#SBATCH --job-name=ampoule
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=ampoule-%A_%a.log
set -uo pipefail

model=${1:?MODEL} manifest=${2:?MANIFEST} out=${3:?OUT}
share=${SLURM_ARRAY_TASK_ID:?this is a script of a job array: sbatch --array=1-16 $0 …}
shares=${SLURM_ARRAY_TASK_COUNT:?}
first=${SLURM_ARRAY_TASK_MIN:-1}
# Shares are counted from 1, whatever the array counts from.
share=$((share - first + 1))

# The program keeps to the cores of the task by itself; the limit leaves a little of the task's memory to the system.
limit=()
[ -n "${SLURM_MEM_PER_NODE:-}" ] && limit=(--max-ram "$((SLURM_MEM_PER_NODE * 95 / 100))M")

"${AMPOULE:-ampoule}" run --shard "$share/$shares" "$model" "$manifest" -o "$out" \
  --threads "${SLURM_CPUS_PER_TASK:-1}" ${limit[@]+"${limit[@]}"}
code=$?
# 1: some cases failed, which failures.csv names; the task itself has done its work.
[ "$code" -eq 1 ] && { echo "some cases failed: see $out/failures.csv" >&2; exit 0; }
exit "$code"
