// The promiseg command beside the test: to be watched, interrupted and killed.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "run_command.hpp"
#include "temporary_folder.hpp"

namespace promiseg_test {

/// The command in a process of its own, which is killed with the object. No wait is longer than its
/// limit: what hangs fails.
class ChildProcess {
 public:
  explicit ChildProcess(std::vector<std::string> arguments, const Environment& changes = {}) {
    // Between fork and exec nothing may allocate, so all that is needed is made here.
    arguments.insert(arguments.begin(), PROMISEG_COMMAND);
    std::vector<std::string> variables;
    for (const auto& [name, value] : command_environment(changes)) {
      variables.push_back(name + "=" + value);
    }
    const std::vector<char*> argument_list = pointers(arguments);
    const std::vector<char*> variable_list = pointers(variables);
    const std::string out = folder_ / "out";
    const std::string err = folder_ / "err";
    process_ = ::fork();
    if (process_ == 0) {
      become(out.c_str(), err.c_str(), argument_list.data(), variable_list.data());
    }
    if (process_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    if (status_.has_value()) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  /// False once it has ended.
  bool running() {
    if (status_.has_value()) return false;
    int status = 0;
    const pid_t ended = ::waitpid(process_, &status, WNOHANG);
    if (ended < 0) throw std::system_error(errno, std::generic_category(), "waitpid");
    if (ended == process_) status_ = status;
    return ended == 0;
  }

  /// Waits until `condition()` holds or the process has ended; false if neither came in time.
  template <class Condition>
  bool wait_until(const Condition& condition, std::chrono::seconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (running() && !condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  /// Sends a signal; nothing if it has ended.
  void send(int number) {
    if (running() && ::kill(process_, number) != 0) {
      throw std::system_error(errno, std::generic_category(), "kill");
    }
  }

  /// Waits for its end. Throws `std::runtime_error` if that does not come in time.
  CommandResult wait(std::chrono::seconds limit) {
    if (!wait_until([] { return false; }, limit)) {
      throw std::runtime_error("the command did not end within " + std::to_string(limit.count()) +
                               " s; it said: " + text_of("out") + text_of("err"));
    }
    const int status = *status_;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of("out"),
            text_of("err")};
  }

 private:
  static std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  }

  static bool redirect(const char* path, int flags, int to) {
    const int from = ::open(path, flags, 0600);
    if (from < 0 || ::dup2(from, to) != to) return false;
    return from == to || ::close(from) == 0;
  }

  /// What the child does instead of going on with the test.
  [[noreturn]] static void become(const char* out, const char* err, char* const* arguments,
                                  char* const* variables) {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    if (redirect("/dev/null", O_RDONLY, STDIN_FILENO) && redirect(out, flags, STDOUT_FILENO) &&
        redirect(err, flags, STDERR_FILENO)) {
      ::execve(PROMISEG_COMMAND, arguments, variables);
    }
    ::_exit(127);
  }

  std::string text_of(const char* file) const {
    const std::vector<char> bytes = read_bytes(folder_ / file);
    return {bytes.begin(), bytes.end()};
  }

  TemporaryFolder folder_;
  pid_t process_ = -1;
  std::optional<int> status_;
};

}  // namespace promiseg_test
