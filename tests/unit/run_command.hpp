// Runs the promiseg command as a user does, in a process of its own.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "temporary_folder.hpp"

namespace promiseg_test {

struct CommandResult {
  int exit_code = 0;  ///< 128 + its number if a signal ended the process
  std::string out;
  std::string err;
};

using Environment = std::map<std::string, std::string>;

/// This process's environment with `changes`. Unless they say otherwise, no model of the user's is
/// found: tests must not depend on it.
inline Environment command_environment(const Environment& changes) {
  Environment variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    variables[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  variables.erase("PROMISEG_MODEL");
  variables["XDG_DATA_HOME"] = "/nonexistent";
  for (const auto& [name, value] : changes) variables[name] = value;
  return variables;
}

/// Runs the command with these arguments and waits for it.
inline CommandResult run_promiseg(std::vector<std::string> arguments,
                                  const Environment& changes = {}) {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const std::string err = folder / "err";
  const int flags = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), flags, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), flags, 0600);

  arguments.insert(arguments.begin(), PROMISEG_COMMAND);
  std::vector<std::string> variables;
  for (const auto& [name, value] : command_environment(changes)) {
    variables.push_back(name + "=" + value);
  }
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  };
  pid_t process = 0;
  const int error = posix_spawn(&process, PROMISEG_COMMAND, &actions, nullptr,
                                pointers(arguments).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), PROMISEG_COMMAND);
  int status = 0;
  if (waitpid(process, &status, 0) != process) throw std::runtime_error("waitpid");

  const auto text_of = [](const std::string& path) {
    const std::vector<char> bytes = read_bytes(path);
    return std::string(bytes.begin(), bytes.end());
  };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(out),
          text_of(err)};
}

}  // namespace promiseg_test
