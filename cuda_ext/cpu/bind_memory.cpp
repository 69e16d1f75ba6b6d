// Lends memory for large outputs and keeps what comes back. Fresh memory costs a page fault for every page, which is
// more than a quick kernel takes; memory that was written before costs nothing.
//
// What is kept is marked MADV_FREE: the system may take its pages whenever it runs short, without asking, and a page
// that was not taken is written without a fault. Keeping therefore never makes a process run out of memory. Elsewhere
// than on Linux nothing is kept.
//
// All of it runs under the GIL: lending is called from Python, and memory comes back where an array is deallocated.
#include "bind.h"

namespace medframe {
namespace {

#if defined(__linux__) && defined(MADV_FREE)

constexpr std::size_t PAGE = std::size_t(2) << 20;  // large pages begin at its multiples
constexpr std::size_t BLOCKS = 16;

struct Block {
    void *at;
    std::size_t bytes;
};

class Kept {
  public:
    // The smallest block that fits and is at most four times as large as needed, else a new one.
    Block take(std::size_t bytes) {
        const std::size_t due = rounded_up(bytes);
        auto best = blocks_.end();
        for (auto b = blocks_.begin(); b != blocks_.end(); ++b)
            if (b->bytes >= due && b->bytes <= 4 * due && (best == blocks_.end() || b->bytes < best->bytes)) best = b;
        if (best == blocks_.end()) return fresh(due);
        const Block found = *best;
        blocks_.erase(best);
        held_ -= found.bytes;
        return found;
    }

    void give(Block block) {
        if (block.bytes > most_ || madvise(block.at, block.bytes, MADV_FREE) != 0) {
            munmap(block.at, block.bytes);
            return;
        }
        blocks_.push_back(block);
        held_ += block.bytes;
        shrink();
    }

    void keep_at_most(std::size_t bytes) {
        most_ = bytes;
        shrink();
    }

    std::size_t held() const { return held_; }

  private:
    // To one of four sizes between two powers of two, so that outputs of about one size take turns in one block. Pages
    // that nobody writes take no memory.
    static std::size_t rounded_up(std::size_t bytes) {
        std::size_t step = PAGE;
        while (8 * step < bytes) step *= 2;
        return (bytes + step - 1) / step * step;
    }

    // Starts at a multiple of a large page, as no address that malloc gives does.
    static Block fresh(std::size_t bytes) {
        void *raw = mmap(nullptr, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (raw == MAP_FAILED) throw std::bad_alloc();
        char *from = static_cast<char *>(raw);
        char *at = reinterpret_cast<char *>((reinterpret_cast<std::uintptr_t>(raw) + PAGE - 1) & ~(PAGE - 1));
        if (at > from) munmap(from, at - from);
        const std::size_t after = from + PAGE - at;
        if (after > 0) munmap(at + bytes, after);
        ask_for_large_pages(at, static_cast<Index>(bytes));
        return {at, bytes};
    }

    // the oldest goes first
    void shrink() {
        while (!blocks_.empty() && (held_ > most_ || blocks_.size() > BLOCKS)) {
            munmap(blocks_.front().at, blocks_.front().bytes);
            held_ -= blocks_.front().bytes;
            blocks_.erase(blocks_.begin());
        }
    }

    std::vector<Block> blocks_;
    std::size_t held_ = 0, most_ = std::size_t(1) << 30;
};

// never destroyed: arrays may be deallocated after everything else
Kept &kept() {
    static Kept *const all = new Kept();
    return *all;
}

py::object lend(std::size_t bytes) {
    if (bytes == 0) return py::none();
    auto *block = new Block(kept().take(bytes));
    const py::capsule owner(block, [](void *p) {
        auto *back = static_cast<Block *>(p);
        kept().give(*back);
        delete back;
    });
    return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(bytes), static_cast<std::uint8_t *>(block->at), owner);
}

void keep_at_most(std::size_t bytes) { kept().keep_at_most(bytes); }
std::size_t kept_bytes() { return kept().held(); }

#else

py::object lend(std::size_t) { return py::none(); }
void keep_at_most(std::size_t) {}
std::size_t kept_bytes() { return 0; }

#endif

}  // namespace

void bind_memory(py::module_ &m) {
    m.def("lend", &lend, py::arg("bytes"), "An array of bytes whose memory is used again, or None: allocate it yourself.");
    m.def("keep_at_most", &keep_at_most, py::arg("bytes"));
    m.def("kept_bytes", &kept_bytes, "Bytes that are kept and not lent.");
}

}  // namespace medframe
