#include "sha256.hpp"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace promiseg::tools {

struct Sha256::State {
  struct Free {
    void operator()(EVP_MD_CTX* freed) const { EVP_MD_CTX_free(freed); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) { restart(); }
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::restart() {
  require(state_->context != nullptr &&
              EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1,
          ErrorCode::unsupported, "OpenSSL offers no SHA-256");
}

void Sha256::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, ErrorCode::io,
          "OpenSSL failed to hash ", bytes.size(), " bytes");
}

void Sha256::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  require(EVP_DigestFinal_ex(state_->context.get(), digest.data(), &size) == 1, ErrorCode::io,
          "OpenSSL failed to finish a SHA-256");
  restart();
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : std::span(digest).first(size)) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256(std::string_view text) { return sha256(std::as_bytes(std::span(text))); }

std::string sha256_of_file(const std::filesystem::path& path) {
  require_file(path);
  std::ifstream file(path, std::ios::binary);
  require(file.good(), ErrorCode::io, path.string(), ": cannot open: ", std::strerror(errno));
  Sha256 hash;
  std::vector<char> piece(std::size_t{1} << 20);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.update(std::as_bytes(std::span(piece).first(static_cast<std::size_t>(file.gcount()))));
  }
  require(file.eof(), ErrorCode::io, path.string(), ": cannot read: ", std::strerror(errno));
  return hash.finish();
}

std::string weights_sha256(const TensorEntries& tensors) {
  Sha256 hash;
  for (const auto& [name, entry] : tensors) {
    std::ostringstream line;
    line << name.size() << ':' << name << ' ' << to_string(entry.dtype) << ' '
         << ShapeText{entry.shape.data(), entry.shape.size()} << '\n';
    hash.update(line.str());
    hash.update(entry.bytes);
  }
  return hash.finish();
}

}  // namespace promiseg::tools
