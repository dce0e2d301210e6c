# Shared by scripts/run and .ci/run: sourced, with the repository root as working directory.

logs=build/log
say() { printf '> %s\n' "$*" >&2; }
fail() {
  printf 'anneal: %s\n' "$*" >&2
  exit 1
}

# quietly NAME COMMAND…: output goes to build/log/NAME.log; its end is shown if the command fails.
quietly() {
  local log=$logs/$1.log
  shift
  mkdir -p "$logs"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    fail "failed: $* (all of its output: $log)"
  fi
}

# need_packages PACKAGE…: installs the missing Debian packages, or prints the command that does.
need_packages() {
  command -v dpkg-query >/dev/null || return 0 # another distribution: CMake names what it misses
  local missing=() package sudo=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || fail "system packages are missing; install them and run again:
  sudo apt-get install -y ${missing[*]}"
    sudo=(sudo -n)
  fi
  say "Installing system packages: ${missing[*]}"
  local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
  # A fresh image has no package lists, and old lists name files that are gone: refresh them when the first try fails.
  if ! "${install[@]}" >/dev/null 2>&1 </dev/null; then
    quietly apt-update "${sudo[@]}" apt-get update
    quietly apt-install "${install[@]}"
  fi
}

# configure FOLDER OPTION…: configures the native build there once; later changes of CMakeLists.txt are ninja's job.
configure() {
  local folder=$1
  shift
  if [ -f "$folder/build.ninja" ]; then return; fi
  say "Configuring $folder"
  quietly "configure-$folder" node_modules/.bin/cmake-js configure -O "$folder" -G Ninja "$@"
}

# compile FOLDER: builds what changed, with ninja's own progress on a terminal. `cmake-js compile` is avoided, because
# after an error it deletes the whole folder.
compile() {
  if [ -f "$1/Release/anneal.node" ]; then say "Building $1"; else say "Building $1 (minutes, the first time)"; fi
  if [ -t 1 ]; then
    cmake --build "$1" || fail "building $1 failed"
  else
    quietly "compile-$1" cmake --build "$1"
  fi
}
