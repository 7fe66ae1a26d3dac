// Scratch memory that grows and is kept.
#pragma once
#include <cstdlib>
#include <new>

namespace flywheel {

template <class T>
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    // At least `count` elements, aligned to a cache line; what was there may be lost. Throws std::bad_alloc.
    T* reserve(std::size_t count) {
        if (count > count_) {
            std::free(data_);
            count_ = 0;
            data_ = static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64));
            if (data_ == nullptr) throw std::bad_alloc();
            count_ = count;
        }
        return data_;
    }
    T* get() const { return data_; }

private:
    T* data_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace flywheel
